// oneDNN: the bare convolutions of the default network, in layouts of its choice, nothing between them counted. A lower bound
// for what is built on it: norms, pooling, fusion, loss and optimizer come on top. Prints one JSON line: the sum of the
// medians of all passes of all layers.
//   g++ -O2 -fopenmp bench_onednn.cpp -ldnnl -o bench_onednn       OMP_NUM_THREADS=2 ./bench_onednn train|image REPS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "dnnl.hpp"

using namespace dnnl;

struct Layer {
    int ci, co, h, w;
};

static memory allocate(const memory::desc &d, const engine &e) {
    memory m(d, e);
    float *p = static_cast<float *>(m.get_data_handle());
    for (size_t i = 0; i < d.get_size() / 4; i++)
        p[i] = static_cast<float>((i * 2654435761u >> 8) & 1023) / 1024.0f - 0.5f;
    return m;
}

template <class F> static double median_seconds(F work, int reps) {
    work();
    std::vector<double> times;
    for (int i = 0; i < reps; i++) {
        auto start = std::chrono::steady_clock::now();
        work();
        times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

static memory::desc any(const memory::dims &d) {
    return memory::desc(d, memory::data_type::f32, memory::format_tag::any);
}

struct Sums {
    double forward = 0, data = 0, weights = 0;
};

static void measure(const Layer &l, int n, bool train, int reps, engine &eng, stream &s, Sums &sums) {
    const memory::dims xs = {n, l.ci, l.h, l.w}, ws = {l.co, l.ci, 3, 3}, ys = {n, l.co, l.h, l.w}, one = {1, 1};
    const auto x = any(xs), w = any(ws), y = any(ys);
    const auto kind = train ? prop_kind::forward_training : prop_kind::forward_inference;
    const auto direct = algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    convolution_forward::primitive_desc fp(eng, kind, direct, x, w, y, one, one, one);
#else
    convolution_forward::primitive_desc fp({kind, direct, x, w, y, one, one, one}, eng);
#endif
    auto run = [&](const primitive &p, const std::unordered_map<int, memory> &args) {
        return median_seconds([&] { p.execute(s, args); s.wait(); }, reps);
    };
    sums.forward += run(convolution_forward(fp), {{DNNL_ARG_SRC, allocate(fp.src_desc(), eng)},
                                                  {DNNL_ARG_WEIGHTS, allocate(fp.weights_desc(), eng)},
                                                  {DNNL_ARG_DST, allocate(fp.dst_desc(), eng)}});
    if (!train)
        return;
#if DNNL_VERSION_MAJOR >= 3
    convolution_backward_data::primitive_desc dp(eng, direct, x, w, y, one, one, one, fp);
    convolution_backward_weights::primitive_desc wp(eng, direct, x, w, y, one, one, one, fp);
#else
    convolution_backward_data::primitive_desc dp({direct, x, w, y, one, one, one}, eng, fp);
    convolution_backward_weights::primitive_desc wp({direct, x, w, y, one, one, one}, eng, fp);
#endif
    if (l.ci > 3) // nobody wants the gradient of the image
        sums.data += run(convolution_backward_data(dp), {{DNNL_ARG_DIFF_DST, allocate(dp.diff_dst_desc(), eng)},
                                                         {DNNL_ARG_WEIGHTS, allocate(dp.weights_desc(), eng)},
                                                         {DNNL_ARG_DIFF_SRC, allocate(dp.diff_src_desc(), eng)}});
    sums.weights += run(convolution_backward_weights(wp), {{DNNL_ARG_SRC, allocate(wp.src_desc(), eng)},
                                                           {DNNL_ARG_DIFF_DST, allocate(wp.diff_dst_desc(), eng)},
                                                           {DNNL_ARG_DIFF_WEIGHTS, allocate(wp.diff_weights_desc(), eng)}});
}

int main(int argc, char **argv) {
    if (argc != 3 || (std::strcmp(argv[1], "train") && std::strcmp(argv[1], "image"))) {
        std::fprintf(stderr, "usage: bench_onednn train|image REPS\n");
        return 2;
    }
    const bool train = !std::strcmp(argv[1], "train");
    const int h = train ? 96 : 608, w = train ? 96 : 704, n = train ? 8 : 1;
    engine eng(engine::kind::cpu, 0);
    stream s(eng);
    Sums sums;
    const int widths[] = {32, 64, 128, 256};
    std::vector<Layer> net;
    for (int i = 0; i < 4; i++) {
        net.push_back({i ? widths[i - 1] : 3, widths[i], h >> i, w >> i});
        net.push_back({widths[i], widths[i], h >> i, w >> i});
    }
    for (int i = 4; i > 0; i--) {
        const int in = widths[std::min(i, 3)], out = i == 4 ? in : widths[i - 1];
        net.push_back({in, out, h >> i, w >> i});
        net.push_back({out, out, h >> i, w >> i});
    }
    for (const Layer &l : net)
        measure(l, n, train, std::atoi(argv[2]), eng, s, sums);
    const dnnl_version_t *v = dnnl_version();
    std::printf("{\"peer\": \"oneDNN %d.%d.%d\", \"median_s\": %.6f, \"forward_s\": %.6f, \"data_s\": %.6f, "
                "\"weights_s\": %.6f}\n",
                v->major, v->minor, v->patch, sums.forward + sums.data + sums.weights, sums.forward, sums.data,
                sums.weights);
}

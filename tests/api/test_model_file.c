/*
 * test_model_file.c - weights files: round trips, names, damaged and hostile files, saves that cannot be finished.
 * An own small writer makes the hostile ones, so that nothing depends on the library's writer.
 */
#include "common.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int tear_down(void **state) {
    (void)state;
    leave_folder();
    return 0;
}

static struct counter counter;

static int fresh_counter(void **state) {
    (void)state;
    memset(&counter, 0, sizeof counter);
    return 0;
}

static void tiny_options(unetstar_model_options *o) {
    struct recipe r;
    recipe_tiny(&r);
    *o = r.model;
}

static unetstar_model *tiny_model(unetstar_context *context) {
    unetstar_model_options o;
    unetstar_model *model;
    tiny_options(&o);
    OK(unetstar_model_create(&model, context, &o));
    return model;
}

static void same_models(const unetstar_model *a, const unetstar_model *b, const char *what) {
    unetstar_model_options oa, ob;
    unetstar_prep_options pa, pb;
    struct blob ba = {NULL, 0, 0}, bb = {NULL, 0, 0};
    memset(&oa, 0, sizeof oa);
    memset(&ob, 0, sizeof ob);
    memset(&pa, 0, sizeof pa);
    memset(&pb, 0, sizeof pb);
    oa.struct_size = ob.struct_size = sizeof oa;
    pa.struct_size = pb.struct_size = sizeof pa;
    OK(unetstar_model_get_options(a, &oa));
    OK(unetstar_model_get_options(b, &ob));
    OK(unetstar_model_get_prep(a, &pa));
    OK(unetstar_model_get_prep(b, &pb));
    assert_memory_equal(&oa, &ob, sizeof oa);
    assert_memory_equal(&pa, &pb, sizeof pa);
    blob_model(&ba, a);
    blob_model(&bb, b);
    blobs_equal(&ba, &bb, what);
    blob_free(&ba);
    blob_free(&bb);
}

struct stream {
    unsigned char *data;
    size_t size, at, step;
    int fail_after; /* calls; 0: never */
};
static int to_stream(void *user, const void *data, size_t size) {
    struct stream *s = (struct stream *)user;
    if (s->fail_after && --s->fail_after == 0)
        return 7;
    s->data = (unsigned char *)realloc(s->data, s->size + size + 1);
    memcpy(s->data + s->size, data, size);
    s->size += size;
    return 0;
}
static int64_t from_stream(void *user, void *data, size_t size) {
    struct stream *s = (struct stream *)user;
    if (s->fail_after && --s->fail_after == 0)
        return -1;
    if (size > s->step)
        size = s->step;
    if (size > s->size - s->at)
        size = s->size - s->at;
    memcpy(data, s->data + s->at, size);
    s->at += size;
    return (int64_t)size;
}

static void test_round_trips(void **state) {
    unetstar_context *context = make_counted(1, &counter);
    int k;
    (void)state;
    for (k = 0; k < 24; k++) {
        char path[160], again[160];
        unetstar_model_options o;
        unetstar_model *model, *other;
        struct stream s = {NULL, 0, 0, 0, 0};
        unsigned char *file;
        size_t size;
        tiny_options(&o);
        o.in_channels = 1 + k % 8;
        o.classes = 1 + k * 3 % 8;
        o.levels = 2 + k % 4;
        o.fusion = k % 3;
        o.activation = k % 6;
        o.norm = k % 4;
        o.upsampling = k % 3;
        o.full_resolution_head = k & 1;
        o.deep_supervision = k >> 1 & 1;
        o.dropout = 0.1 * (k % 5);
        o.narrow = 0.05 + 0.013 * k;
        o.channel_multiplier = k % 2 ? 1 : 1.0 / 3;
        o.seed = UINT64_C(0xfedcba9876543210) + (uint64_t)k;
        o.leaky_slope = 0.1f;
        o.norm_groups = 1 + k % 5;
        o.precision = k & 1;
        o.block = k % 5 == 4 ? 1 + k / 5 % 2 : 0;
        o.fusion_norm = o.fusion != UNETSTAR_FUSION_CONCAT && o.norm != UNETSTAR_NORM_NONE && k % 3 < 2;
        o.initialization = k / 2 & 1;
        o.block_expansion = 1 + k % 4;
        snprintf(path, sizeof path, "%s", path_of("trip"));
        snprintf(again, sizeof again, "%s", path_of("again"));
        OK(unetstar_model_create(&model, context, &o));
        OK(unetstar_model_set_meta(model, "note", "\xc3\xa4 \"quoted\" \\ \n \x01 end"));
        OK(unetstar_model_set_meta(model, "gone", "x"));
        OK(unetstar_model_set_meta(model, "gone", NULL));
        OK(unetstar_model_save(model, path));
        file = read_file(path, &size);
        OK(unetstar_model_load(&other, context, path));
        same_models(model, other, "path");
        assert_string_equal(unetstar_model_get_meta(other, "note"), "\xc3\xa4 \"quoted\" \\ \n \x01 end");
        assert_null(unetstar_model_get_meta(other, "gone"));
        OK(unetstar_model_save(other, again)); /* the same model is the same bytes */
        unetstar_model_destroy(other);
        OK(unetstar_model_save_callback(model, to_stream, &s));
        assert_int_equal(s.size, size);
        assert_memory_equal(s.data, file, size);
        free(file);
        file = read_file(again, &size);
        assert_int_equal(s.size, size);
        assert_memory_equal(s.data, file, size);
        memmove(file, file, size);
        OK(unetstar_model_load_memory(&other, context, s.data, s.size));
        same_models(model, other, "memory");
        unetstar_model_destroy(other);
        s.step = k % 2 ? 1 << 20 : 977; /* short reads */
        OK(unetstar_model_load_callback(&other, context, from_stream, &s));
        same_models(model, other, "callback");
        unetstar_model_destroy(other);
        unetstar_model_destroy(model);
        free(file);
        free(s.data);
    }
    print_message("  %d kinds of models, three ways each\n", k);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

static void test_callbacks_fail(void **state) {
    unetstar_context *context = make_counted(1, &counter);
    unetstar_model *model = tiny_model(context), *other;
    struct stream s = {NULL, 0, 0, 1 << 16, 0};
    int n;
    (void)state;
    OK(unetstar_model_save_callback(model, to_stream, &s));
    for (n = 1; n <= 3; n++) {
        struct stream bad = {NULL, 0, 0, 512, n};
        FAILS(UNETSTAR_EIO, unetstar_model_save_callback(model, to_stream, &bad));
        free(bad.data);
        bad.data = s.data;
        bad.size = s.size;
        bad.fail_after = n;
        FAILS(UNETSTAR_EIO, unetstar_model_load_callback(&other, context, from_stream, &bad));
        assert_null(other);
    }
    free(s.data);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

/* ---- Names and counts ---- */

static void test_names_and_parameter_counts(void **state) {
    static const char *const leaves[] = {"weight",       "bias",        "weight",             "bias",
                                         "running_mean", "running_var", "num_batches_tracked"};
    static const char *const halves[] = {"encoder", "decoder"};
    unetstar_context *context = make_context(1);
    unetstar_model_options o;
    unetstar_model *model;
    int in, half, block, j, k;
    int64_t i = 0;
    (void)state;
    OK(unetstar_model_options_init(&o, sizeof o));
    for (in = 3; in >= 1; in -= 2) {
        for (o.fusion = UNETSTAR_FUSION_SUM; o.fusion <= UNETSTAR_FUSION_STAR; o.fusion++) {
            o.in_channels = in;
            OK(unetstar_model_create(&model, context, &o));
            assert_int_equal(unetstar_model_parameter_count(model), in == 3 ? 2937378 : 2936802);
            if (in == 3 && o.fusion == UNETSTAR_FUSION_STAR)
                break; /* look at its names below */
            unetstar_model_destroy(model);
        }
        if (in == 1)
            break;
        assert_int_equal(unetstar_model_tensor_count(model), 114);
        for (half = 0; half < 2; half++)
            for (block = 0; block < 4; block++)
                for (j = 0; j <= 2; j += 2)
                    for (k = 0; k < 7; k++) {
                        const int64_t widths[] = {32, 64, 128, 256}, d = half ? 3 - block : block;
                        char name[64];
                        int64_t shape[UNETSTAR_MAX_DIMS];
                        int32_t dtype, ndim;
                        const int64_t out = half && block ? widths[d] : widths[d];
                        const int64_t before = half ? widths[block ? d + 1 : 3] : block ? widths[block - 1] : 3;
                        snprintf(name, sizeof name, "%s.%d.conv.%d.%s", halves[half], block, j + (k >= 2), leaves[k]);
                        assert_string_equal(unetstar_model_tensor_name(model, i++), name);
                        OK(unetstar_model_tensor_shape(model, name, &dtype, &ndim, shape));
                        assert_int_equal(dtype, k == 6 ? UNETSTAR_INT64 : UNETSTAR_FLOAT32);
                        assert_int_equal(ndim, k == 0 ? 4 : k == 6 ? 0 : 1);
                        if (k < 6)
                            assert_int_equal(shape[0], out);
                        if (k == 0) {
                            assert_int_equal(shape[1], j == 0 ? before : out);
                            assert_int_equal(shape[2] * 10 + shape[3], 33);
                        }
                    }
        assert_string_equal(unetstar_model_tensor_name(model, i++), "out.weight");
        assert_string_equal(unetstar_model_tensor_name(model, i++), "out.bias");
        assert_int_equal(i, 114);
        assert_null(unetstar_model_tensor_name(model, 114));
        assert_null(unetstar_model_tensor_name(model, -1));
        unetstar_model_destroy(model);
    }
    print_message("  2,937,378 and 2,936,802 parameters; 114 names and shapes\n");
    unetstar_context_destroy(context);
}

/* ---- Damage ---- */

/* A load of any bytes: an error with a sentence, or a model that works. */
static int try_bytes(unetstar_context *context, const unsigned char *data, size_t size) {
    unetstar_model *model = (unetstar_model *)64;
    unsigned char *copy = (unsigned char *)memory(size); /* at its end, so that a sanitizer sees a read past it */
    int code;
    memcpy(copy, data, size);
    code = unetstar_model_load_memory(&model, context, copy, size);
    free(copy);
    if (code == UNETSTAR_OK) {
        struct blob blob = {NULL, 0, 0};
        unetstar_model_options o;
        o.struct_size = sizeof o;
        OK(unetstar_model_get_options(model, &o));
        assert_true(unetstar_model_tensor_count(model) > 10);
        blob_model(&blob, model);
        blob_free(&blob);
        unetstar_model_destroy(model);
    } else {
        assert_null(model);
        assert_true(code == UNETSTAR_EFORMAT || code == UNETSTAR_EVERSION || code == UNETSTAR_ESHAPE || code == UNETSTAR_ELIMIT ||
                    code == UNETSTAR_ENOTSUPPORTED);
        assert_true(*unetstar_last_error() != 0);
    }
    return code;
}

static void test_damaged_files(void **state) {
    unetstar_context *context = make_counted(1, &counter);
    unetstar_model *model = tiny_model(context);
    struct stream s = {NULL, 0, 0, 0, 0};
    size_t at, header;
    int cut = 0, flipped = 0, survived = 0;
    (void)state;
    OK(unetstar_model_save_callback(model, to_stream, &s));
    header = 8 + (size_t)(s.data[0] | s.data[1] << 8 | s.data[2] << 16);
    assert_true(header < s.size);
    for (at = 0; at < s.size; at += at < 200 || at > s.size - 9 ? 1 : 97, cut++)
        FAILS(UNETSTAR_EFORMAT, try_bytes(context, s.data, at)); /* a part of a file is never a file */
    for (at = 0; at < s.size; at += at < header ? 3 : 997, flipped++) {
        static const unsigned char masks[] = {1, 0x80, 0xff, 2, 4, 0x10};
        const unsigned char mask = masks[flipped % COUNT(masks)];
        s.data[at] ^= mask;
        survived += try_bytes(context, s.data, s.size) == UNETSTAR_OK;
        s.data[at] ^= mask;
    }
    OK(try_bytes(context, s.data, s.size)); /* and the whole one still is one */
    print_message("  %zu bytes, %d truncations, %d flips (%d of them load)\n", s.size, cut, flipped, survived);
    assert_true(survived > 0 && survived < flipped);
    free(s.data);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

/* Replaces text in the header by text of any length, mending the length of the header. */
static void patched(struct blob *out, const struct stream *s, const char *from, const char *to) {
    const size_t header = (size_t)(s->data[0] | s->data[1] << 8 | s->data[2] << 16), old = strlen(from), new = strlen(to);
    unsigned char length[8] = {0};
    size_t at, now, i;
    for (at = 8; at + old <= 8 + header && memcmp(s->data + at, from, old); at++)
        continue;
    if (at + old > 8 + header) {
        print_error("the file does not have %s\n", from);
        fail();
    }
    now = header - old + new;
    for (i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)now >> (8 * i));
    blob_add(out, length, 8);
    blob_add(out, s->data + 8, at - 8);
    blob_add(out, to, new);
    blob_add(out, s->data + at + old, s->size - at - old);
}

static void test_hostile_files(void **state) {
    static const struct {
        const char *from, *to, *word;
    } cases[] = {
        {"\"unetstar.model.narrow\":\"0.0625\"", "\"unetstar.model.narrow\":\"1e9\"", ""},
        {"\"unetstar.model.narrow\":\"0.0625\"", "\"unetstar.model.narrow\":\"-0.5\"", ""},
        {"\"unetstar.model.narrow\":\"0.0625\"", "\"unetstar.model.narrow\":\"nan\"", ""},
        {"\"unetstar.model.narrow\":\"0.0625\"", "\"unetstar.model.narrow\":\"0.5\"", "shape"},
        {"\"unetstar.model.narrow\":\"0.0625\"", "\"unetstar.model.narrow\":\"\"", "narrow"},
        {"\"unetstar.model.levels\":\"2\"", "\"unetstar.model.levels\":\"1000000\"", ""},
        {"\"unetstar.model.levels\":\"2\"", "\"unetstar.model.levels\":\"-3\"", ""},
        {"\"unetstar.model.levels\":\"2\"", "\"unetstar.model.levels\":\"5\"", ""},
        {"\"unetstar.model.levels\":\"2\"", "\"unetstar.model.levels\":\"99999999999999999999999\"", "levels"},
        {"\"unetstar.model.in_channels\":\"1\"", "\"unetstar.model.in_channels\":\"0\"", ""},
        {"\"unetstar.model.classes\":\"2\"", "\"unetstar.model.classes\":\"2147483647\"", ""},
        {"\"unetstar.model.fusion\":\"star\"", "\"unetstar.model.fusion\":\"planet\"", "fusion"},
        {"\"unetstar.model.norm_groups\":\"8\"", "\"unetstar.model.norm_groups\":\"0\"", ""},
        {"\"unetstar.model.norm_groups\":\"8\"", "\"unetstar.model.norm_grouqs\":\"8\"", "norm_groups"},
        {"\"unetstar.model.block\":\"double_conv\"", "\"unetstar.model.block\":\"rhombus\"", "block"},
        {"\"unetstar.model.block\":\"double_conv\"", "\"unetstar.model.block\":\"star\"", "encoder.0.lead.0.weight"},
        {"\"unetstar.model.block_expansion\":\"3\"", "\"unetstar.model.block_expansion\":\"99\"", "block_expansion"},
        {"\"unetstar.model.dropout\":\"0\"", "\"unetstar.model.dropout\":\"1\"", ""},
        {"\"unetstar.model.precision\":\"fast\"", "\"unetstar.model.precision\":\"int8\"", ""},
        {"\"unetstar.version\":\"0.1.0\"", "\"unetstar.version\":\"7.0.0\"", "version 7"},
        {"\"encoder.0.conv.0.weight\":", "\"encoder.0.conv.0.wejght\":", "encoder.0.conv.0.weight"},
        {"\"out.bias\":{\"dtype\":\"F32\"", "\"out.bias\":{\"dtype\":\"I32\"", "out.bias"},
        {"\"out.bias\":{\"dtype\":\"F32\",\"shape\":[2]", "\"out.bias\":{\"dtype\":\"F32\",\"shape\":[1,2]", "out.bias"},
        {"\"out.bias\":{\"dtype\":\"F32\",\"shape\":[2]", "\"out.bias\":{\"dtype\":\"F32\",\"shape\":[4611686018427387906]", ""},
    };
    unetstar_context *context = make_counted(1, &counter);
    unetstar_model *model = tiny_model(context);
    struct stream s = {NULL, 0, 0, 0, 0};
    struct blob whole = {NULL, 0, 0};
    int i;
    (void)state;
    OK(unetstar_model_save_callback(model, to_stream, &s));
    patched(&whole, &s, "\"unetstar.model.levels\":\"2\"", "\"unetstar.model.levels\" : \"2\"");
    OK(try_bytes(context, whole.data, whole.size)); /* the patching itself does no harm */
    blob_free(&whole);
    for (i = 0; i < COUNT(cases); i++) {
        struct blob bad = {NULL, 0, 0};
        const int64_t peak = counter.bytes;
        int code;
        patched(&bad, &s, cases[i].from, cases[i].to);
        counter.peak = counter.bytes;
        code = try_bytes(context, bad.data, bad.size);
        print_message("  %-50.50s %3d: %s\n", cases[i].to, code, unetstar_last_error());
        assert_int_not_equal(code, UNETSTAR_OK);
        assert_non_null(strstr(unetstar_last_error(), cases[i].word));
        assert_true(counter.peak - peak < 4 << 20); /* nothing was allocated by what the file says */
        blob_free(&bad);
    }
    free(s.data);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

/* Files from before there were blocks have double convolutions. */
static void test_older_files(void **state) {
    unetstar_context *context = make_counted(1, &counter);
    unetstar_model *model = tiny_model(context), *other;
    struct stream s = {NULL, 0, 0, 0, 0};
    struct blob half = {NULL, 0, 0}, old = {NULL, 0, 0};
    (void)state;
    OK(unetstar_model_save_callback(model, to_stream, &s));
    patched(&half, &s, "\"unetstar.model.block\":", "\"someone.s.block\":");
    free(s.data);
    s.data = half.data;
    s.size = half.size;
    patched(&old, &s, "\"unetstar.model.block_expansion\":", "\"someone.s.expansion\":");
    OK(unetstar_model_load_memory(&other, context, old.data, old.size));
    same_models(model, other, "an older file");
    unetstar_model_destroy(other);
    blob_free(&half);
    blob_free(&old);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

/* Names as other programs write them. */
static void test_prefixes(void **state) {
    static const char *const prefixes[] = {"module.", "model.", "state_dict."};
    unetstar_context *context = make_counted(1, &counter);
    unetstar_model *model = tiny_model(context), *other;
    struct stream s = {NULL, 0, 0, 0, 0};
    int i;
    (void)state;
    OK(unetstar_model_save_callback(model, to_stream, &s));
    for (i = 0; i < COUNT(prefixes); i++) {
        static const char *const starts[] = {"\"encoder.", "\"decoder.", "\"out."};
        const size_t header = (size_t)(s.data[0] | s.data[1] << 8 | s.data[2] << 16);
        struct blob out = {NULL, 0, 0};
        size_t at, now;
        int k;
        blob_add(&out, s.data, 8);
        for (at = 8; at < 8 + header; at++) {
            blob_add(&out, s.data + at, 1);
            for (k = 0; k < COUNT(starts); k++)
                if (!memcmp(s.data + at, starts[k], strlen(starts[k])))
                    blob_add(&out, prefixes[i], strlen(prefixes[i]));
        }
        now = out.size - 8;
        for (k = 0; k < 8; k++)
            out.data[k] = (unsigned char)((uint64_t)now >> (8 * k));
        blob_add(&out, s.data + 8 + header, s.size - 8 - header);
        OK(unetstar_model_load_memory(&other, context, out.data, out.size));
        same_models(model, other, prefixes[i]);
        unetstar_model_destroy(other);
        blob_free(&out);
    }
    free(s.data);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

/* ---- Checkpoints ---- */

static void test_checkpoints(void **state) {
    unetstar_context *context = make_counted(1, &counter);
    char path[160];
    struct recipe r;
    struct training t, u;
    unetstar_model *model;
    struct blob before = {NULL, 0, 0}, after = {NULL, 0, 0};
    unsigned char *file;
    size_t size, at;
    int k, tried = 0;
    (void)state;
    snprintf(path, sizeof path, "%s", path_of("checkpoint"));
    recipe_tiny(&r);
    training_open(&t, context, &r);
    OK(unetstar_trainer_fit(t.trainer, t.set, NULL, NULL, NULL, NULL));
    OK(unetstar_trainer_save(t.trainer, path));
    OK(unetstar_model_load(&model, context, path)); /* a checkpoint is a weights file, too */
    same_models(t.model, model, "checkpoint as weights");
    unetstar_model_destroy(model);
    for (k = 0; k < 7; k++) { /* another option: its name is in the sentence */
        static const char *const names[] = {"narrow", "fusion", "batch_size", "gamma", "beta1", "dice", "schedule"};
        struct recipe other = r;
        other.model.narrow = k == 0 ? 0.125 : other.model.narrow;
        other.model.fusion = k == 1 ? UNETSTAR_FUSION_SUM : other.model.fusion;
        other.trainer.batch_size = k == 2 ? 2 : other.trainer.batch_size;
        other.trainer.gamma = k == 3 ? 0.5f : other.trainer.gamma;
        other.optimizer.beta1 = k == 4 ? 0.8 : other.optimizer.beta1;
        other.loss.dice = k == 5 ? 1 : other.loss.dice;
        other.trainer.schedule = k == 6 ? UNETSTAR_SCHEDULE_CONSTANT : other.trainer.schedule;
        training_open(&u, context, &other);
        blob_model(&before, u.model);
        FAILS_NAMING(UNETSTAR_ESTATE, names[k], unetstar_trainer_load(u.trainer, path));
        assert_non_null(strstr(unetstar_last_error(), path));
        blob_model(&after, u.model);
        blobs_equal(&before, &after, "a refused checkpoint");
        blob_free(&before);
        blob_free(&after);
        training_close(&u);
    }
    print_message("  %s\n", unetstar_last_error());
    OK(unetstar_model_save(t.model, path)); /* weights alone are not a checkpoint */
    FAILS(UNETSTAR_EFORMAT, unetstar_trainer_load(t.trainer, path));
    OK(unetstar_trainer_save(t.trainer, path));
    file = read_file(path, &size);
    blob_model(&before, t.model);
    blob_optimizer(&before, t.optimizer, t.model);
    for (at = 0; at < size; at += at < 64 ? 1 : 1999, tried++) {
        write_file(path, file, at);
        FAILS(UNETSTAR_EFORMAT, unetstar_trainer_load(t.trainer, path));
    }
    blob_model(&after, t.model);
    blob_optimizer(&after, t.optimizer, t.model);
    blobs_equal(&before, &after, "after damaged checkpoints");
    print_message("  %zu bytes, %d truncations refused, nothing changed\n", size, tried);
    blob_free(&before);
    blob_free(&after);
    free(file);
    training_close(&t);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

/* ---- Saves that cannot be finished ---- */

static void unharmed(const char *path, const unsigned char *old, size_t size) {
    size_t now;
    unsigned char *file = read_file(path, &now);
    assert_int_equal(now, size);
    assert_memory_equal(file, old, size);
    free(file);
}

static void test_failing_saves(void **state) {
    unetstar_context *context = make_counted(1, &counter);
    unetstar_model *model = tiny_model(context), *other;
    struct rlimit limit, small;
    struct recipe r;
    struct training t;
    char path[160], folder_path[160];
    unsigned char *old;
    size_t size;
    int files;
    (void)state;
    snprintf(path, sizeof path, "%s", path_of("saved"));
    snprintf(folder_path, sizeof folder_path, "%s", path_of("folder"));
    recipe_tiny(&r);
    training_open(&t, context, &r);
    OK(unetstar_model_save(model, path));
    old = read_file(path, &size);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    files = files_in_folder();
    signal(SIGXFSZ, SIG_IGN);
    small = limit;
    small.rlim_cur = size / 2;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    FAILS_NAMING(UNETSTAR_EIO, path, unetstar_model_save(model, path));
    FAILS_NAMING(UNETSTAR_EIO, path, unetstar_trainer_save(t.trainer, path));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    print_message("  %s\n", unetstar_last_error());
    unharmed(path, old, size);
    assert_int_equal(files_in_folder(), files); /* no temporary file was left */
    FAILS_NAMING(UNETSTAR_EIO, "nowhere", unetstar_model_save(model, path_of("nowhere/x")));
    FAILS_NAMING(UNETSTAR_EIO, "nowhere", unetstar_model_load(&other, context, path_of("nowhere")));
    assert_int_equal(mkdir(folder_path, 0700), 0);
    FAILS_NAMING(UNETSTAR_EIO, folder_path, unetstar_model_save(model, folder_path)); /* a folder is no file */
    FAILS_NAMING(UNETSTAR_EIO, folder_path, unetstar_model_load(&other, context, folder_path));
    if (geteuid() != 0) {
        snprintf(folder_path + strlen(folder_path), sizeof folder_path - strlen(folder_path), "/file");
        OK(unetstar_model_save(model, folder_path));
        *strrchr(folder_path, '/') = 0;
        assert_int_equal(chmod(folder_path, 0500), 0);
        snprintf(folder_path + strlen(folder_path), sizeof folder_path - strlen(folder_path), "/file");
        FAILS_NAMING(UNETSTAR_EIO, folder_path, unetstar_model_save(model, folder_path));
        unharmed(folder_path, old, size);
        *strrchr(folder_path, '/') = 0;
        assert_int_equal(chmod(folder_path, 0700), 0);
        snprintf(folder_path + strlen(folder_path), sizeof folder_path - strlen(folder_path), "/file");
        unlink(folder_path);
        *strrchr(folder_path, '/') = 0;
    } else {
        print_message("  unwritable folder: not tried, root may write everywhere\n");
    }
    assert_int_equal(rmdir(folder_path), 0); /* no temporary file was left in it */
    OK(unetstar_model_save(t.model, path)); /* and now it works again */
    free(old);
    training_close(&t);
    unetstar_model_destroy(model);
    unetstar_context_destroy(context);
    counter_balanced(&counter);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, fresh_counter)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trips),
        TEST(test_callbacks_fail),
        TEST(test_damaged_files),
        TEST(test_names_and_parameter_counts),
        TEST(test_hostile_files),
        TEST(test_older_files),
        TEST(test_prefixes),
        TEST(test_checkpoints),
        TEST(test_failing_saves),
    };
    return cmocka_run_group_tests_name("model_file", tests, NULL, tear_down);
}

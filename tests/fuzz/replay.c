/*
 * replay.c - a main for a fuzz target where there is no libFuzzer, so that ordinary tests run it too.
 *
 *     replay file...             runs the target on each file (a crash to look at again, a corpus)
 *     replay [--rounds N] [--seed S]   mutates built-in seeds N times (default 200000)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LARGEST 4096

/* Headers; the length, and as much data as the last number says, are added. */
static const char *const seeds[] = {
    "{}",
    "{\"__metadata__\":{\"format\":\"pt\",\"\\u00e9\\ud83d\\ude00\\n\":\"\\\"\\\\\"}}",
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
    ("{\"__metadata__\":{\"k\":\"v\"},\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
     "\"w\":{\"dtype\":\"F32\",\"shape\":[2,1,3,3],\"data_offsets\":[8,80]},"
     "\"m\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[80,85]}}   "),
    ("{\"e\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[4,4]},"
     "\"f\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}"),
    "{\"s\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]},\"x\":{\"dtype\":\"??\",\"shape\":[9],\"data_"
    "offsets\":[2,5]}}"};
static const size_t seed_data[] = {0, 0, 24, 85, 4, 5};
#define SEEDS (sizeof seeds / sizeof seeds[0])

/* Pieces that make sense to the parser. */
static const char *const pieces[] = {"{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     ":",
                                     "\"",
                                     "\\",
                                     "\\u",
                                     "\\u0000",
                                     "\\ud800",
                                     "0",
                                     "-1",
                                     "4294967296",
                                     "18446744073709551615",
                                     "1e9",
                                     "F32",
                                     "U8",
                                     "BF16",
                                     "F6_E2M3",
                                     "__metadata__",
                                     "\"a\":{\"dtype\":\"F32\"",
                                     ",\"shape\":[1]",
                                     ",\"data_offsets\":[0,4]",
                                     "\xff",
                                     "\xc3\xa9",
                                     " ",
                                     "\n"};
#define PIECES (sizeof pieces / sizeof pieces[0])

static uint64_t state = 1;

static size_t below(size_t n) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % n);
}

static size_t insert(uint8_t *data, size_t size, size_t at, const void *piece, size_t n) {
    if (size + n > LARGEST)
        return size;
    memmove(data + at + n, data + at, size - at);
    memcpy(data + at, piece, n);
    return size + n;
}

static size_t mutate(uint8_t *data, size_t size) {
    const size_t at = below(size + 1), kind = below(7);
    size_t n = 1 + below(8);
    if (kind < 3) {
        const char *piece = pieces[below(PIECES)];
        if (kind == 0 && at + strlen(piece) <= size) {
            memcpy(data + at, piece, strlen(piece));
            return size;
        }
        return insert(data, size, at, piece, strlen(piece));
    }
    if (at == size)
        return size;
    if (kind == 3)
        data[at] ^= (uint8_t)(1u << below(8));
    if (kind == 4)
        data[at] = (uint8_t) "0123456789{}[]\","[below(16)];
    if (n > size - at)
        n = size - at;
    if (kind == 5) {
        memmove(data + at, data + at + n, size - at - n);
        size -= n;
    }
    if (kind == 6) {
        uint8_t copy[8];
        memcpy(copy, data + at, n);
        size = insert(data, size, below(size + 1), copy, n);
    }
    return size;
}

/* One byte for the target, the length, a changed header, data. The length is right most of the time. */
static size_t make(uint8_t *out) {
    const size_t seed = below(SEEDS), data_size = seed_data[seed];
    size_t header = strlen(seeds[seed]), changes = below(6), length, i;
    memcpy(out + 9, seeds[seed], header);
    while (changes--)
        header = mutate(out + 9, header);
    length = below(20) ? header : below(300);
    out[0] = (uint8_t)(below(3) ? 0 : below(256));
    for (i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)((uint64_t)length >> (8 * i) & 255);
    if (below(50) == 0)
        out[1 + below(8)] = (uint8_t)below(256);
    for (i = 0; i < data_size; i++)
        out[9 + header + i] = (uint8_t)below(256);
    return 9 + header + data_size - (below(20) ? 0 : below(9));
}

/* An exact-size copy, so that the sanitizer sees a read behind the end. */
static void run(const uint8_t *data, size_t size) {
    uint8_t *copy = (uint8_t *)malloc(size ? size : 1);
    if (!copy)
        exit(2);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int replay_file(const char *name) {
    FILE *file = fopen(name, "rb");
    uint8_t *data = NULL;
    size_t size = 0, capacity = 0, got = 0;
    if (!file) {
        fprintf(stderr, "cannot open %s\n", name);
        return 1;
    }
    do {
        size += got;
        if (size == capacity) {
            uint8_t *larger = (uint8_t *)realloc(data, capacity = 2 * capacity + 4096);
            if (!larger)
                exit(2);
            data = larger;
        }
    } while ((got = fread(data + size, 1, capacity - size, file)) > 0);
    fclose(file);
    run(data, size);
    free(data);
    return 0;
}

int main(int argc, char **argv) {
    static uint8_t input[LARGEST + 1024];
    long rounds = 200000, i;
    int failed = 0, files = 0, a;
    for (a = 1; a < argc; a++) {
        if (strcmp(argv[a], "--rounds") == 0 && a + 1 < argc) {
            rounds = atol(argv[++a]);
        } else if (strcmp(argv[a], "--seed") == 0 && a + 1 < argc) {
            state = (uint64_t)atol(argv[++a]);
        } else {
            failed |= replay_file(argv[a]);
            files++;
        }
    }
    if (files)
        return failed;
    for (i = 0; i < rounds; i++)
        run(input, make(input));
    printf("%ld rounds\n", rounds);
    return 0;
}

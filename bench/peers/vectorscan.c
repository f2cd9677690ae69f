/* Vectorscan with the patterns of patterns.txt: `vectorscan DIR SECONDS PATTERNS`. Each match with its start, as anything that
 * redacts needs; HS_FLAG_SINGLEMATCH or no start would be faster and of no use. All matches are reported, overlapping
 * ones too: it has no other mode. */
#define _POSIX_C_SOURCE 200809L
#include <hs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int count(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
    (void)id, (void)from, (void)to, (void)flags;
    ++*(unsigned long *)context;
    return 0;
}

static void fail(const char *what)
{
    fprintf(stderr, "vectorscan: %s\n", what);
    exit(1);
}

int main(int argc, char **argv)
{
    static const char *kinds[] = {"chat", "prose", "logs", "code"};
    static char lines[64][1024];
    const char *expressions[64];
    unsigned flags[64], ids[64], patterns = 0;
    if (argc != 4)
        fail("usage: vectorscan DIR SECONDS PATTERNS");
    FILE *file = fopen(argv[3], "r");
    if (!file)
        fail("no patterns");
    while (patterns < 64 && fgets(lines[patterns], sizeof lines[0], file)) {
        char *tab = strchr(lines[patterns], '\t');
        if (lines[patterns][0] == '#' || !tab)
            continue;
        tab[strcspn(tab, "\n")] = 0;
        expressions[patterns] = tab + 1;
        flags[patterns] = HS_FLAG_SOM_LEFTMOST;
        ids[patterns] = patterns;
        patterns++;
    }
    fclose(file);
    hs_database_t *database;
    hs_compile_error_t *error;
    hs_scratch_t *scratch = NULL;
    double begun = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (hs_compile_multi(expressions, flags, ids, patterns, HS_MODE_BLOCK, NULL, &database, &error) != HS_SUCCESS)
        fail(error->message);
    double compiled = seconds(CLOCK_PROCESS_CPUTIME_ID) - begun;
    if (hs_alloc_scratch(database, &scratch) != HS_SUCCESS)
        fail("no scratch");
    for (int kind = 0; kind < 4; kind++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.texts", argv[1], kinds[kind]);
        if (!(file = fopen(path, "rb")))
            fail("no texts");
        fseek(file, 0, SEEK_END);
        size_t size = (size_t)ftell(file);
        rewind(file);
        char *texts = malloc(size);
        if (!texts || fread(texts, 1, size, file) != size)
            fail("texts cannot be read");
        fclose(file);
        double best = 1e9, budget = atof(argv[2]), start = seconds(CLOCK_MONOTONIC);
        size_t bytes = 0;
        unsigned long found = 0;
        for (int passes = 0; passes < 3 || seconds(CLOCK_MONOTONIC) - start < budget; passes++) {
            found = bytes = 0;
            double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
            for (size_t at = 0; at < size;) {
                /* The machines that this runs on are little-endian, as the file is. */
                uint32_t length;
                memcpy(&length, texts + at, sizeof length);
                at += sizeof length;
                if (hs_scan(database, texts + at, length, 0, scratch, count, &found) != HS_SUCCESS)
                    fail("scan failed");
                at += length;
                bytes += length;
            }
            double took = seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
            if (took < best)
                best = took;
        }
        printf("{\"contender\":\"Vectorscan %u patterns\",\"text\":\"%s\",\"mb_per_s\":%f,\"found\":%lu,\"start_ms\":%f}\n",
               patterns, kinds[kind], (double)bytes / 1e6 / best, found, compiled * 1e3);
        free(texts);
    }
    return 0;
}

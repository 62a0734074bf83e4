/*
 * replay_corpus.c - run a fuzz driver over every file of a folder, without libFuzzer.
 *
 * Linked with each fuzz_*.c into replay_<name>; ctest runs it over corpus/<name>. Prints how many
 * files it replayed and fails on zero. Files over the limit are an error: a corpus is kept small.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX ((size_t)1 << 20)
#define PATH_BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input in memory of its exact size, so that a read beyond it is seen by ASan. */
static int replay(const char *path)
{
    static uint8_t bytes[FILE_BYTES_MAX + 1];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    if (size > FILE_BYTES_MAX) {
        (void)fprintf(stderr, "%s: larger than %zu bytes\n", path, FILE_BYTES_MAX);
        return -1;
    }
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    if (exact == NULL) {
        return -1;
    }
    memcpy(exact, bytes, size);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    if (folder == NULL) {
        perror(argv[1]);
        return 2;
    }
    size_t count = 0;
    int failed = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[PATH_BYTES_MAX];
        if (entry->d_name[0] == '.') {
            continue;
        }
        int len = snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (len < 0 || (size_t)len >= sizeof path || replay(path) != 0) {
            failed = 1;
        }
        count += 1;
    }
    (void)closedir(folder);
    printf("replayed %zu files of %s\n", count, argv[1]);
    return failed != 0 || count == 0 ? 1 : 0;
}

/*
 * libFuzzer: a good segment file with bytes written over it, opened and used. The input is a list of writes: offset (3 bytes), length
 * (1 byte), the bytes; an offset counts from the start of the file and wraps. When the first byte is odd the writes begin
 * behind the header, whose checksum would refuse them.
 */
#include "use_segment.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEADER = 4096 };

static char path[64];
static unsigned char *image, *scratch;
static size_t image_size;

static void remove_file(void)
{
    unlink(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    snprintf(path, sizeof path, "/dev/shm/gyre-fuzz-%ld", (long)getpid());
    unlink(path);
    if (segment_make(path) < 0) abort();
    atexit(remove_file);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) abort();
    image_size = (size_t)ftell(file);
    image = malloc(image_size);
    scratch = malloc(image_size);
    rewind(file);
    if (!image || !scratch || fread(image, 1, image_size, file) != image_size) abort();
    fclose(file);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    size_t from = data[0] % 2 ? HEADER : 0;
    memcpy(scratch, image, image_size);
    for (data++, size--; size >= 5;) {
        size_t at = (size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16, n = data[3];
        data += 4, size -= 4;
        for (; n && size; n--, at++, data++, size--) scratch[from + at % (image_size - from)] = *data;
    }
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(scratch, 1, image_size, file) != image_size || fclose(file)) abort();
    segment_use(path);
    return 0;
}

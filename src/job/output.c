/*
 * output.c: the files behind output.h.
 * Owns the open file and the chunk being collected. May call zlib and zstd; knows nothing of formats and of SQLite.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>
#include <zstd.h>

enum { GZIP_LEVEL = 6, ZSTD_LEVEL = 3, GZIP_WINDOW = 15 + 16 /* zlib: a gzip header, not zlib's own */ };

static int is_stdout(const struct gyre__output *output)
{
    return strcmp(output->path, "-") == 0;
}

/* pages.jsonl.gz, pages.2.jsonl.gz, ...: the number stands before what tells the format. Free it; NULL: no memory. */
static char *file_name(const char *path, uint32_t file)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = *base ? strrchr(base + 1, '.') : NULL;
    char *name = NULL;

    if (file == 0) return strdup(path);
    if (dot && (strcmp(dot, ".gz") == 0 || strcmp(dot, ".zst") == 0))
        for (const char *before = dot - 1; before > base; before--)
            if (*before == '.') {
                dot = before;
                break;
            }
    if (!dot) dot = path + strlen(path);
    if (asprintf(&name, "%.*s.%u%s", (int)(dot - path), path, file + 1, dot) < 0) return NULL;
    return name;
}

static int fail(struct gyre__output *output, const char *what, int number)
{
    char *name = file_name(output->path, output->file);
    snprintf(output->why, sizeof output->why, "the output %s %s: %s", name ? name : "", what, strerror(number));
    free(name);
    return -1;
}

/* Opens the file of output->file; `keep` bytes of it stay. */
static int open_file(struct gyre__output *output, uint64_t keep)
{
    char *name = file_name(output->path, output->file);
    struct stat is;

    if (!name) return fail(output, "cannot be opened", ENOMEM);
    output->fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    free(name);
    if (output->fd < 0 || fstat(output->fd, &is) < 0) return fail(output, "cannot be opened", errno);
    if (!S_ISREG(is.st_mode)) return 0; /* a device or a pipe: nothing to cut */
    output->is_new = is.st_size == 0;
    if ((uint64_t)is.st_size < keep) {
        snprintf(output->why, sizeof output->why, "the output %s has %lld bytes where the state says %llu: was it moved or "
                 "edited? --fresh starts over", output->path, (long long)is.st_size, (unsigned long long)keep);
        return -1;
    }
    if (ftruncate(output->fd, (off_t)keep) < 0) return fail(output, "cannot be cut back", errno);
    if (lseek(output->fd, (off_t)keep, SEEK_SET) < 0) return fail(output, "cannot be written", errno);
    return 0;
}

/* Files that were begun after the last stored position, or by a crawl that now starts over. */
static void remove_later_files(const struct gyre__output *output)
{
    for (uint32_t file = output->file + 1;; file++) {
        char *name = file_name(output->path, file);
        int removed = name && unlink(name) == 0;
        free(name);
        if (!removed) return;
    }
}

int gyre__output_open(struct gyre__output *output, const struct gyre__output_options *options, uint32_t file,
                      uint64_t position)
{
    memset(output, 0, sizeof *output);
    output->fd = -1;
    if (!options->path) return 0;
    if (!(output->path = strdup(options->path))) return fail(output, "cannot be opened", ENOMEM);
    output->compression = options->compression;
    output->rotate = options->rotate;
    output->file = output->stored_file = file;
    output->position = output->stored_position = position;
    if (is_stdout(output)) {
        output->fd = STDOUT_FILENO;
        return 0;
    }
    if (open_file(output, position) < 0) return -1;
    if (output->rotate > 0) remove_later_files(output);
    return 0;
}

int gyre__output_header(struct gyre__output *output, const char *bytes, size_t size)
{
    free(output->header);
    output->header_size = size;
    if (!(output->header = malloc(size + 1))) return fail(output, "cannot be written", ENOMEM);
    memcpy(output->header, bytes, size);
    return 0;
}

static int make_room(struct gyre__output *output, size_t more)
{
    size_t room = output->room ? output->room : 4096;
    while (room < output->size + more) room *= 2;
    if (room == output->room) return 0;
    char *items = realloc(output->items, room);
    if (!items) return fail(output, "cannot be written", ENOMEM);
    output->items = items;
    output->room = room;
    return 0;
}

int gyre__output_add(struct gyre__output *output, const char *bytes, size_t size)
{
    uint32_t length = (uint32_t)size;

    if (size > UINT32_MAX || make_room(output, size + sizeof length) < 0) return -1;
    memcpy(output->items + output->size, &length, sizeof length);
    memcpy(output->items + output->size + sizeof length, bytes, size);
    output->size += sizeof length + size;
    return 0;
}

/* Whether the bytes are lengths and items. */
static int are_items(const char *bytes, size_t size)
{
    while (size > 0) {
        uint32_t length;
        if (size < sizeof length) return 0;
        memcpy(&length, bytes, sizeof length);
        if (length > size - sizeof length) return 0;
        bytes += sizeof length + length;
        size -= sizeof length + length;
    }
    return 1;
}

int gyre__output_restore(struct gyre__output *output, const void *items, size_t size)
{
    if (!are_items(items, size)) {
        snprintf(output->why, sizeof output->why, "the state is damaged: what is to be written holds no items");
        return -1;
    }
    if (make_room(output, size) < 0) return -1;
    if (size > 0) memcpy(output->items + output->size, items, size);
    output->size += size;
    return 0;
}

int gyre__output_is_full(const struct gyre__output *output)
{
    return output->size >= (output->compression == GYRE__PLAIN ? GYRE__CHUNK_PLAIN : GYRE__CHUNK_COMPRESSED);
}

/* A pipe that somebody who shares it has made non-blocking. Returns whether to try again. */
static int wait_for_room(int fd)
{
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    int ready = poll(&out, 1, -1);
    return ready > 0 || (ready < 0 && errno == EINTR);
}

static int write_all(struct gyre__output *output, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(output->fd, bytes, size);
        if (written < 0 && (errno == EINTR || (errno == EAGAIN && wait_for_room(output->fd)))) continue;
        if (written < 0) return fail(output, "cannot be written", errno);
        bytes += written;
        size -= (size_t)written;
        output->position += (uint64_t)written;
    }
    return 0;
}

static int write_gzip(struct gyre__output *output, const char *bytes, size_t size)
{
    z_stream stream = {0};
    if (deflateInit2(&stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return fail(output, "cannot be compressed", ENOMEM);
    size_t room = deflateBound(&stream, size);
    unsigned char *out = malloc(room);
    int good = 0;

    if (out) {
        stream.next_in = (unsigned char *)bytes;
        stream.avail_in = (uInt)size;
        stream.next_out = out;
        stream.avail_out = (uInt)room;
        good = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    }
    deflateEnd(&stream);
    int result = good ? write_all(output, (char *)out, stream.total_out) : fail(output, "cannot be compressed", ENOMEM);
    free(out);
    return result;
}

static int write_zstd(struct gyre__output *output, const char *bytes, size_t size)
{
    size_t room = ZSTD_compressBound(size);
    char *out = malloc(room);
    size_t used = out ? ZSTD_compress(out, room, bytes, size, ZSTD_LEVEL) : 0;
    int result = out && !ZSTD_isError(used) ? write_all(output, out, used) : fail(output, "cannot be compressed", ENOMEM);
    free(out);
    return result;
}

static int write_chunk(struct gyre__output *output, const char *bytes, size_t size)
{
    if (size == 0) return 0;
    switch (output->compression) {
    case GYRE__GZIP: return write_gzip(output, bytes, size);
    case GYRE__ZSTD: return write_zstd(output, bytes, size);
    case GYRE__PLAIN: break;
    }
    return write_all(output, bytes, size);
}

/* The name of a new file is on the disk when its folder is. Not every file system can be asked for that. */
static void sync_folder(struct gyre__output *output)
{
    char *name = file_name(output->path, output->file), *slash = name ? strrchr(name, '/') : NULL;
    if (slash) slash[slash == name] = '\0';
    int fd = name ? open(slash ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0 && fsync(fd) == 0) output->is_new = 0;
    if (fd >= 0) close(fd);
    free(name);
}

/* Until the disk has it; what cannot be synced (a pipe, a terminal) needs no waiting for. */
static int sync_file(struct gyre__output *output)
{
    if (is_stdout(output)) return 0;
    output->syncs++;
    if (fdatasync(output->fd) < 0 && errno != EINVAL && errno != EROFS) return fail(output, "cannot be written", errno);
    if (output->is_new) sync_folder(output);
    return 0;
}

static int next_file(struct gyre__output *output)
{
    if (sync_file(output) < 0) return -1;
    close(output->fd);
    output->fd = -1;
    output->file++;
    output->position = 0;
    return open_file(output, 0);
}

/* A chunk being put together: the bytes of items without their lengths. */
struct chunk {
    char *bytes;
    size_t size;
};

static int is_file_full(const struct gyre__output *output, const struct chunk *chunk, size_t more)
{
    if (output->rotate == 0 || is_stdout(output)) return 0;
    if (output->compression != GYRE__PLAIN) return chunk->size == 0 && output->position >= output->rotate;
    uint64_t size = output->position + chunk->size;
    return size > output->header_size && size + more > output->rotate;
}

static int flush_chunk(struct gyre__output *output, struct chunk *chunk)
{
    int result = write_chunk(output, chunk->bytes, chunk->size);
    chunk->size = 0;
    return result;
}

static int flush_items(struct gyre__output *output, struct chunk *chunk)
{
    for (size_t at = 0; at < output->size;) {
        uint32_t length;
        memcpy(&length, output->items + at, sizeof length);
        if (is_file_full(output, chunk, length) && (flush_chunk(output, chunk) < 0 || next_file(output) < 0)) return -1;
        if (output->position == 0 && chunk->size == 0 && output->header) {
            memcpy(chunk->bytes, output->header, output->header_size);
            chunk->size = output->header_size;
        }
        memcpy(chunk->bytes + chunk->size, output->items + at + sizeof length, length);
        chunk->size += length;
        at += sizeof length + length;
    }
    return flush_chunk(output, chunk);
}

int gyre__output_flush(struct gyre__output *output)
{
    if (output->size == 0) return 0;
    if (output->fd < 0) return fail(output, "is not open", EBADF);
    struct chunk chunk = {malloc(output->size + output->header_size), 0};
    if (!chunk.bytes) return fail(output, "cannot be written", ENOMEM);
    int result = flush_items(output, &chunk);
    free(chunk.bytes);
    if (result < 0 || sync_file(output) < 0) return -1;
    output->size = 0;
    return 0;
}

void gyre__output_stored(struct gyre__output *output)
{
    output->stored_file = output->file;
    output->stored_position = output->position;
}

void gyre__output_close(struct gyre__output *output)
{
    struct stat is;
    int ours = output->fd >= 0 && output->fd != STDOUT_FILENO;

    if (ours && output->file == output->stored_file && fstat(output->fd, &is) == 0 && S_ISREG(is.st_mode) &&
        (uint64_t)is.st_size > output->stored_position && ftruncate(output->fd, (off_t)output->stored_position) < 0)
        output->stored_position = 0; /* the next run cuts it */
    if (ours) close(output->fd);
    free(output->path);
    free(output->header);
    free(output->items);
    memset(output, 0, sizeof *output);
    output->fd = -1;
}

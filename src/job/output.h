/*
 * output.h: where a crawl's items go: one file or a row of them, plain or compressed, or standard output.
 *
 * Items are collected and written a chunk at a time; a compressed file gets one gzip member or zstd frame a chunk, so
 * that a file can be cut back to the end of any chunk and is still whole. The caller stores gyre__output.file and
 * .position with its own state after a flush, and hands them back when it opens the output again: what lies beyond them
 * is cut off. Not thread-safe. Functions return 0, or -1 with `why` set.
 */
#ifndef GYRE_JOB_OUTPUT_H
#define GYRE_JOB_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

enum gyre__compression { GYRE__PLAIN, GYRE__GZIP, GYRE__ZSTD };

struct gyre__output_options {
    const char *path;                   /* "-": standard output; NULL: none, and an item is an error */
    enum gyre__compression compression;
    uint64_t rotate;                    /* bytes after which another file is begun; 0: never */
};

struct gyre__output {
    char *path;
    enum gyre__compression compression;
    uint64_t rotate;
    int fd;            /* -1: not open yet */
    int is_new;        /* its folder has not been synced since it was made */
    uint32_t file;     /* 0 is `path` itself, 1 is "NAME.2.EXT", and so on */
    uint64_t position; /* its size after the last flush */
    uint32_t stored_file;
    uint64_t stored_position; /* as the caller last stored them */
    char *header;      /* what every file begins with, or NULL */
    size_t header_size;
    char *items;       /* collected: a 4-byte length and the bytes, each */
    size_t size, room;
    uint64_t syncs;    /* how often the disk was waited for */
    char why[512];
};

/* Chunks are of about this size: small ones compress badly, and one is held in memory. */
enum { GYRE__CHUNK_PLAIN = 64 << 10, GYRE__CHUNK_COMPRESSED = 256 << 10 };

/* `file` and `position` as stored with the state, both 0 for a new output, which overwrites what is there. */
int gyre__output_open(struct gyre__output *output, const struct gyre__output_options *options, uint32_t file,
                      uint64_t position);

/* Copies the first bytes of every file: the heading of a CSV. Before the first flush. */
int gyre__output_header(struct gyre__output *output, const char *bytes, size_t size);

int gyre__output_add(struct gyre__output *output, const char *bytes, size_t size);

/* The same for items as they lie in `items`: what was stored before they could be written. */
int gyre__output_restore(struct gyre__output *output, const void *items, size_t size);

/* Writes what is collected and, unless it goes to standard output, waits until it is on the disk. */
int gyre__output_flush(struct gyre__output *output);

/* Whether a chunk is full. */
int gyre__output_is_full(const struct gyre__output *output);

/* The caller has stored `file` and `position` for good. */
void gyre__output_stored(struct gyre__output *output);

/* Cuts off what has been written beyond what was stored, closes and frees. Writes nothing. */
void gyre__output_close(struct gyre__output *output);

#endif

/* test_output.c: items to files: cut back, rotated, compressed; every file whole after each flush. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "job/output.h"

static char folder[] = "/tmp/gyre-output.XXXXXX";

static const char *path_of(const char *name)
{
    static char path[64][256];
    static int turn;
    char *to = path[turn++ % 64];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

static char *read_file(const char *name)
{
    static char text[4][65536];
    static int turn;
    char *to = text[turn++ % 4];
    FILE *file = fopen(path_of(name), "r");
    if (!file) return NULL;
    to[fread(to, 1, sizeof text[0] - 1, file)] = '\0';
    fclose(file);
    return to;
}

static void add(struct gyre__output *output, const char *text)
{
    assert_int_equal(gyre__output_add(output, text, strlen(text)), 0);
}

static void flush(struct gyre__output *output)
{
    if (gyre__output_flush(output) < 0) fail_msg("%s", output->why);
    gyre__output_stored(output);
}

static void test_cut_back(void **state)
{
    (void)state;
    struct gyre__output output;
    struct gyre__output_options options = {.path = path_of("a.jsonl")};

    assert_int_equal(gyre__output_open(&output, &options, 0, 0), 0);
    add(&output, "one\n");
    flush(&output);
    add(&output, "two\n");
    assert_int_equal(gyre__output_flush(&output), 0); /* written, and never stored */
    uint64_t stored = output.stored_position;
    assert_int_equal(stored, 4);
    gyre__output_close(&output);
    assert_string_equal(read_file("a.jsonl"), "one\n");

    FILE *file = fopen(path_of("a.jsonl"), "a"); /* as after a kill */
    fputs("tw", file);
    fclose(file);
    assert_int_equal(gyre__output_open(&output, &options, 0, stored), 0);
    add(&output, "three\n");
    flush(&output);
    gyre__output_close(&output);
    assert_string_equal(read_file("a.jsonl"), "one\nthree\n");

    assert_int_equal(gyre__output_open(&output, &options, 0, 1000), -1);
    assert_non_null(strstr(output.why, "has 10 bytes where the state says 1000"));
    gyre__output_close(&output);
    assert_string_equal(read_file("a.jsonl"), "one\nthree\n");

    assert_int_equal(gyre__output_open(&output, &options, 0, 0), 0); /* a new crawl */
    gyre__output_close(&output);
    assert_string_equal(read_file("a.jsonl"), "");
}

static void test_rotation(void **state)
{
    (void)state;
    struct gyre__output output;
    struct gyre__output_options options = {.path = path_of("b.csv"), .rotate = 12};

    assert_int_equal(gyre__output_open(&output, &options, 0, 0), 0);
    assert_int_equal(gyre__output_header(&output, "head\n", 5), 0);
    for (int i = 0; i < 5; i++) add(&output, "row\n"); /* one a file beside the heading: 9 bytes, 13 would be too many */
    add(&output, "much longer than a file\n");
    flush(&output);
    assert_int_equal(output.file, 5);
    gyre__output_close(&output);
    assert_string_equal(read_file("b.csv"), "head\nrow\n");
    assert_string_equal(read_file("b.2.csv"), "head\nrow\n");
    assert_string_equal(read_file("b.5.csv"), "head\nrow\n");
    assert_string_equal(read_file("b.6.csv"), "head\nmuch longer than a file\n");

    assert_int_equal(gyre__output_open(&output, &options, 1, 5), 0); /* the state stopped at the second */
    gyre__output_close(&output);
    assert_string_equal(read_file("b.2.csv"), "head\n");
    assert_null(read_file("b.3.csv"));
    assert_null(read_file("b.6.csv"));
    assert_string_equal(read_file("b.csv"), "head\nrow\n");
}

static void run(const char *command, const char *name, char *out, size_t size)
{
    char text[600];
    snprintf(text, sizeof text, "%s '%s'", command, path_of(name));
    FILE *pipe = popen(text, "r");
    out[fread(out, 1, size - 1, pipe)] = '\0';
    assert_int_equal(pclose(pipe), 0);
}

/* A member or frame a flush: cut back to any of them, the usual programs read the file. */
static void check_compressed(enum gyre__compression compression, const char *name, const char *second, const char *command)
{
    struct gyre__output output;
    struct gyre__output_options options = {.path = path_of(name), .compression = compression, .rotate = 60};
    char text[65536];

    assert_int_equal(gyre__output_open(&output, &options, 0, 0), 0);
    add(&output, "one\n");
    add(&output, "two\n");
    flush(&output);
    uint64_t first = output.position;
    run(command, name, text, sizeof text);
    assert_string_equal(text, "one\ntwo\n");
    while (output.file == 0) {
        add(&output, "three three three three three three three\n");
        flush(&output);
    }
    run(command, second, text, sizeof text);
    assert_non_null(strstr(text, "three"));
    gyre__output_close(&output);

    assert_int_equal(gyre__output_open(&output, &options, 0, first), 0);
    add(&output, "four\n");
    flush(&output);
    gyre__output_close(&output);
    run(command, name, text, sizeof text);
    assert_string_equal(text, "one\ntwo\nfour\n");
    assert_null(read_file(second));
}

static void test_compressed(void **state)
{
    (void)state;
    check_compressed(GYRE__GZIP, "c.jsonl.gz", "c.2.jsonl.gz", "gzip -dc");
    check_compressed(GYRE__ZSTD, "d.jsonl.zst", "d.2.jsonl.zst", "zstd -qdc");
}

static void test_restore(void **state)
{
    (void)state;
    struct gyre__output output, other;
    struct gyre__output_options options = {.path = path_of("e.jsonl")}, nowhere = {.path = NULL};

    assert_int_equal(gyre__output_open(&output, &options, 0, 0), 0);
    assert_int_equal(gyre__output_open(&other, &nowhere, 0, 0), 0);
    add(&other, "kept\n");
    add(&other, "");
    add(&other, "too\n");
    assert_int_equal(gyre__output_restore(&output, other.items, other.size), 0);
    flush(&output);
    gyre__output_close(&output);
    gyre__output_close(&other);
    assert_string_equal(read_file("e.jsonl"), "kept\ntoo\n");
}

/* Of a damaged state nothing is read that lies beyond it. */
static void test_restore_damaged(void **state)
{
    (void)state;
    struct gyre__output output;
    struct gyre__output_options options = {.path = path_of("f.jsonl")};
    char items[12] = "\3\0\0\0abc\2\0\0\0x";

    assert_int_equal(gyre__output_open(&output, &options, 0, 0), 0);
    for (size_t size = 1; size <= sizeof items; size++) {
        char *exact = malloc(size);
        memcpy(exact, items, size);
        assert_int_equal(gyre__output_restore(&output, exact, size), size == 7 ? 0 : -1);
        if (size != 7) assert_non_null(strstr(output.why, "the state is damaged"));
        free(exact);
    }
    flush(&output);
    gyre__output_close(&output);
    assert_string_equal(read_file("f.jsonl"), "abc");
}

static void *read_later(void *data)
{
    const int *pipes = data;
    static char sink[65536];
    size_t sum = 0;

    usleep(20000);
    close(pipes[1]);
    for (ssize_t got; (got = read(pipes[0], sink, sizeof sink)) > 0;) sum += (size_t)got;
    return (void *)sum;
}

/* Standard output, which whoever shares it has made non-blocking, is written as it can take it. */
static void test_non_blocking(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    struct gyre__output output;
    struct gyre__output_options options = {.path = "-"};
    int pipes[2], before = dup(STDOUT_FILENO);
    char *bytes = calloc(1, SIZE);
    pthread_t reader;
    void *sum;

    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    fcntl(pipes[0], F_SETFL, 0);
    fflush(stdout);
    dup2(pipes[1], STDOUT_FILENO);
    pthread_create(&reader, NULL, read_later, pipes);
    int opened = gyre__output_open(&output, &options, 0, 0) == 0 && gyre__output_add(&output, bytes, SIZE) == 0;
    int flushed = opened ? gyre__output_flush(&output) : -1;
    dup2(before, STDOUT_FILENO);
    close(before);
    pthread_join(reader, &sum);
    if (flushed < 0) fail_msg("%s", output.why);
    assert_int_equal((size_t)sum, SIZE);
    gyre__output_close(&output);
    close(pipes[0]);
    free(bytes);
}

static void test_cannot_be_written(void **state)
{
    (void)state;
    struct gyre__output output;
    struct gyre__output_options options = {.path = "/dev/full"}, missing = {.path = path_of("no/such/folder")};

    assert_int_equal(gyre__output_open(&output, &options, 0, 0), 0);
    add(&output, "x\n");
    assert_int_equal(gyre__output_flush(&output), -1);
    assert_string_equal(output.why, "the output /dev/full cannot be written: No space left on device");
    gyre__output_close(&output);
    assert_int_equal(gyre__output_open(&output, &missing, 0, 0), -1);
    assert_non_null(strstr(output.why, "cannot be opened: No such file"));
    gyre__output_close(&output);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[300];
    (void)state;
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_back),   cmocka_unit_test(test_rotation), cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_restore),    cmocka_unit_test(test_restore_damaged), cmocka_unit_test(test_non_blocking),
        cmocka_unit_test(test_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

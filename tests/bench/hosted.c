/*
 * Strategies called from C that are in Lua, or that Lua carries out: the way into Lua and back, and what is at the end of it.
 * The built-in ones that are native whoever calls are in picks.c.
 */
#include "bench.h"

#include <gyre/host.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct row {
    const char *name, *source, *options, *country, *session; /* a source that begins with "return" is the text of a file */
    uint32_t most; /* proxies; 0: any number */
} rows[] = {
    {.name = "random", .source = "return { name = 'bench', select = function(self, view) return view:random() end }"},
    {.name = "best of two",
     .source = "return { name = 'bench', select = function(self, view) local a, b = view:random(), view:random()\n"
               "return (a.ema_ms or 0) * (a.active + 1) <= (b.ema_ms or 0) * (b.active + 1) and a or b end }"},
    {.name = "geo", .source = "geo", .country = "DE"},
    {.name = "tiered", .source = "tiered", .options = "{\"tiers\":[\"residential\",\"datacentre\"]}"},
    {.name = "cost-aware", .source = "cost-aware"},
    {.name = "session", .source = "session", .session = "cart-17"},
    {.name = "composite", .source = "composite",
     .options = "{\"where\":{\"country\":\"US\"},\"strategy\":\"performance\",\"fallback\":\"random\"}"},
    {.name = "proportional", .source = "proportional", .most = 1000},
};

struct asked {
    struct gyre_pool *pool;
    struct gyre_request request;
    bool plain;
};

static void run(void *context, unsigned worker, uint64_t count)
{
    struct asked *asked = context;
    struct gyre_lease lease;
    (void)worker;
    while (count--) {
        if (gyre_acquire(asked->pool, asked->plain ? NULL : &asked->request, &lease) == 0 &&
            gyre_complete_ms(asked->pool, &lease, GYRE_OK, 100.0) == 0)
            continue;
        fprintf(stderr, "a cycle failed: %s\n", gyre_detail());
        exit(2);
    }
}

static bool use_file(struct gyre_pool *pool, const char *text)
{
    char path[] = "/tmp/gyre-bench-XXXXXX.lua";
    int fd = mkstemps(path, 4);
    if (fd < 0) return false;
    bool good = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && gyre_host_use(pool, path, NULL) == 0;
    close(fd);
    unlink(path);
    return good;
}

static void measure_row(const struct row *row, uint32_t size)
{
    bool is_file = strncmp(row->source, "return ", 7) == 0;
    struct asked asked = {.pool = pool_with(size, 1024), .plain = !row->country && !row->session};
    asked.request = (struct gyre_request){.size = sizeof asked.request, .country = row->country, .session = row->session};
    if (is_file ? use_file(asked.pool, row->source) : gyre_host_use(asked.pool, row->source, row->options) == 0) {
        run(&asked, 0, 1000 + (row->most ? 0 : size / 2)); /* the Lua state makes an object for each proxy that it meets */
        struct figure figure = measure(&(struct work){.run = run, .context = &asked}, 1, false);
        table_row("lua from C", row->name, size, 1, false, figure);
        if (row == rows) promise("an O(1) strategy in Lua from C, with the cycle, ns", figure.best, 150, false);
    } else {
        fprintf(stderr, "strategy %s: %s\n", row->name, gyre_detail());
    }
    gyre_pool_close(asked.pool);
}

void bench_hosted(void)
{
    static const uint32_t sizes[] = {10, 100, 1000, 10000, 100000};
    setenv("GYRE_LUA_PATH", SOURCE_DIR "/lua", 0);
    setenv("GYRE_STRATEGY_PATH", SOURCE_DIR "/strategies", 0);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            if (wanted("lua from C", rows[r].name) && (!rows[r].most || sizes[i] <= rows[r].most)) measure_row(&rows[r], sizes[i]);
    gyre_host_thread_end();
}

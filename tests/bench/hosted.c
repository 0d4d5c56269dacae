/*
 * Strategies in Lua, called from C: the way into Lua and back, and an O(1) strategy at the end of it.
 */
#include "bench.h"

#include <gyre/host.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const scripts[][2] = {
    {"random", "return { name = 'bench', select = function(self, view) return view:random() end }"},
    {"best of two", "return { name = 'bench', select = function(self, view) local a, b = view:random(), view:random()\n"
                    "return (a.ema_ms or 0) * (a.active + 1) <= (b.ema_ms or 0) * (b.active + 1) and a or b end }"},
};

static void run(void *context, unsigned worker, uint64_t count)
{
    struct gyre_lease lease;
    (void)worker;
    while (count--) {
        if (gyre_acquire(context, NULL, &lease) == 0 && gyre_complete_ms(context, &lease, GYRE_OK, 100.0) == 0) continue;
        fprintf(stderr, "a cycle failed: %s\n", gyre_detail());
        exit(2);
    }
}

/* Has the pool follow a strategy of this text. */
static bool use(struct gyre_pool *pool, const char *text)
{
    char path[] = "/tmp/gyre-bench-XXXXXX.lua";
    int fd = mkstemps(path, 4);
    if (fd < 0) return false;
    bool good = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && gyre_host_use(pool, path, NULL) == 0;
    if (!good) fprintf(stderr, "a strategy in Lua: %s\n", gyre_detail());
    close(fd);
    unlink(path);
    return good;
}

void bench_hosted(void)
{
    static const uint32_t sizes[] = {100, 10000};
    setenv("GYRE_LUA_PATH", SOURCE_DIR "/lua", 0);
    for (size_t s = 0; s < sizeof scripts / sizeof *scripts; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            if (!wanted("lua from C", scripts[s][0])) continue;
            struct gyre_pool *pool = pool_with(sizes[i], 1);
            if (use(pool, scripts[s][1])) {
                struct figure figure = measure(&(struct work){.run = run, .context = pool}, 1, false);
                table_row("lua from C", scripts[s][0], sizes[i], 1, false, figure);
                if (s == 0) promise("an O(1) strategy in Lua from C, with the cycle, ns", figure.best, 150, false);
            }
            gyre_pool_close(pool);
        }
    gyre_host_thread_end();
}

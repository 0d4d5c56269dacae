/*
 * A strategy in Lua in a C program: four threads, each with a Lua state of its own, take leases by it.
 *
 *     cc examples/embed_lua.c -Isrc/include -Lbuild/release -lgyre-host -lgyre -pthread -Wl,-rpath,build/release -o build/embed_lua
 *     GYRE_LUA_PATH=lua GYRE_STRATEGY_PATH=strategies build/embed_lua performance '{ "choices": 2 }'
 *
 * or with a file of your own, such as that of strategies/README.md: build/embed_lua ./fastest-of-few.lua '{ "k": 3 }'
 */
#include <gyre/host.h>
#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4, EACH = 250, PROXIES = 5 };

static void *work(void *pool)
{
    struct gyre_lease lease;
    for (int i = 0; i < EACH; i++) {
        if (gyre_acquire(pool, NULL, &lease) < 0) return fprintf(stderr, "%s\n", gyre_detail()), NULL;
        /* ... a request through the proxy; here the first is the fastest ... */
        gyre_complete_ms(pool, &lease, GYRE_OK, 100.0 * (lease.slot + 1));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct gyre_options options = {.size = sizeof options, .seed = 7};
    struct gyre_pool *pool;
    pthread_t thread[THREADS];
    uint64_t id = 0;

    if (argc < 2) return fprintf(stderr, "usage: embed_lua STRATEGY [OPTIONS]\n"), 2;
    if (gyre_pool_open(&options, &pool) < 0) return 1;
    for (int i = 0; i < PROXIES; i++) {
        char url[32];
        snprintf(url, sizeof url, "http://192.0.2.%d:3128", i + 1);
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url};
        gyre_pool_add(pool, &spec, &id);
    }
    if (gyre_host_use(pool, argv[1], argc > 2 ? argv[2] : NULL) < 0) return fprintf(stderr, "%s\n", gyre_detail()), 2;

    for (int i = 0; i < THREADS; i++) pthread_create(&thread[i], NULL, work, pool);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (id = 0; gyre_pool_next(pool, &id) == 1;) {
        struct gyre_proxy proxy = {.size = sizeof proxy};
        gyre_pool_get(pool, id, &proxy);
        printf("%s: %d requests, %.0f ms\n", proxy.host, (int)proxy.started, proxy.ema_ms);
    }
    gyre_pool_close(pool);
}

/*
 * A segment in a file: two handles and two processes see one pool, a restart keeps it, whatever is not a segment
 * is refused and left as it was. Processes that die are in test_crash.c.
 */
#include "support.h"

#include "step.h"

#include "../../src/core/segment.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct gyre_options shared_options(const char *path)
{
    struct gyre_options options = manual_options();

    options.path = path;
    options.max_proxies = 128;
    options.max_leases = 256;
    options.max_sessions = options.max_bans = 64; /* a file is reserved whole */
    return options;
}

static void test_two_handles(void **state)
{
    struct gyre_options options = shared_options(temp_path("two")), other = shared_options(options.path);
    uint64_t ids[128], id;
    struct gyre_pool *a = pool_of(20, ids, &options), *b;
    struct gyre_lease lease;

    (void)state;
    /* Capacities and settings are the file's; those of whoever attaches are ignored. */
    other.max_proxies = 1024;
    other.clock = GYRE_CLOCK_SYSTEM;
    other.alpha = 1.0;
    other.lease_timeout = 1.0;
    b = open_pool(&other);
    assert_int_equal(gyre_pool_count(b), 20);
    assert_true(gyre_pool_time(b) == 1000.0);
    OK(gyre_pool_set_time(b, 1100.0));
    assert_true(gyre_pool_time(a) == 1100.0);

    id = add_url(b, "http://from-b");
    assert_string_equal(proxy_of(a, id).host, "from-b");
    OK(gyre_acquire_id(a, id, &lease));
    EXPECT_COUNT(proxy_of(b, id).active, 1, "a's lease, seen by b");
    OK(gyre_complete_ms(a, &lease, GYRE_OK, 100.0));
    OK(gyre_acquire_id(b, id, &lease));
    OK(gyre_complete_ms(b, &lease, GYRE_OK, 200.0));
    assert_true(proxy_of(a, id).ema_ms == 100.0 + 0.2 * (200.0 - 100.0)); /* alpha is the file's */
    OK(gyre_pool_remove(a, id));
    EXPECT(GYRE_ENOT_FOUND, gyre_acquire_id(b, id, &lease));

    add_numbered(b, 1000, 108, ids + 20);
    EXPECT(GYRE_EFULL,
           gyre_pool_add(b, &(struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .url = "http://x"},
                         &id));
    gyre_pool_close(a);
    assert_int_equal(gyre_pool_count(b), 128); /* closing one handle takes nothing from the other */
    gyre_pool_close(b);
}

static void other_process(void *path)
{
    struct gyre_options options = shared_options(path);
    struct gyre_pool *pool;
    struct gyre_lease lease;
    uint64_t id;

    REQUIRE(gyre_pool_open(&options, &pool) == 0);
    REQUIRE(gyre_pool_find(pool, "http://10.0.0.3:3128", &id) == 0);
    REQUIRE(gyre_pool_disable(pool, id) == 0);
    REQUIRE(gyre_pool_find(pool, "http://10.0.0.4:3128", &id) == 0);
    for (int i = 0; i < 7; i++) {
        REQUIRE(gyre_acquire_id(pool, id, &lease) == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 80.0) == 0);
    }
    REQUIRE(gyre_pool_add(pool,
                          &(struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .url = "socks5://new"},
                          &id) == 0);
    gyre_pool_close(pool);
}

static void test_two_processes(void **state)
{
    struct gyre_options options = shared_options(temp_path("processes"));
    uint64_t ids[10], id;
    struct gyre_pool *pool = pool_of(10, ids, &options);

    (void)state;
    reap(spawn(other_process, (void *)(uintptr_t)options.path));
    assert_int_equal(proxy_of(pool, ids[3]).state, GYRE_DISABLED);
    EXPECT_COUNT(proxy_of(pool, ids[4]).succeeded, 7, "by the other process");
    assert_true(proxy_of(pool, ids[4]).ema_ms == 80.0);
    OK(gyre_pool_find(pool, "socks5://new", &id));
    assert_int_equal(gyre_pool_count(pool), 11);
    gyre_pool_close(pool);
}

static void open_and_add(void *argument)
{
    struct gyre_options options = shared_options(argument);
    struct gyre_pool *pool;
    char url[64];
    uint64_t id;

    REQUIRE(gyre_pool_open(&options, &pool) == 0);
    snprintf(url, sizeof url, "http://process-%d", (int)getpid());
    REQUIRE(gyre_pool_add(pool, &(struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .url = url},
                          &id) == 0);
    gyre_pool_close(pool);
}

/* Who comes at the same moment finds one segment, made once and whole. */
static void test_race_to_create(void **state)
{
    (void)state;
    for (unsigned long round = rounds(50); round; round--) {
        struct gyre_options options = shared_options(temp_path("race"));
        struct gyre_pool *pool;
        pid_t children[6];

        for (size_t i = 0; i < COUNT(children); i++)
            children[i] = spawn(open_and_add, (void *)(uintptr_t)options.path);
        for (size_t i = 0; i < COUNT(children); i++) reap(children[i]);
        pool = open_pool(&options);
        assert_int_equal(gyre_pool_count(pool), COUNT(children));
        gyre_pool_close(pool);
        unlink(options.path);
    }
}

static void *open_and_add_as_thread(void *path)
{
    static atomic_uint number;
    struct gyre_options options = shared_options(*(const char **)path);
    struct gyre_pool *pool;
    char url[64];
    uint64_t id;

    REQUIRE(gyre_pool_open(&options, &pool) == 0);
    snprintf(url, sizeof url, "http://thread-%u", atomic_fetch_add(&number, 1));
    REQUIRE(gyre_pool_add(pool, &(struct gyre_proxy_spec){.size = sizeof(struct gyre_proxy_spec), .url = url},
                          &id) == 0);
    gyre_pool_close(pool);
    return NULL;
}

/* So do the threads of one process, which share a pid. */
static void test_race_of_threads_to_create(void **state)
{
    (void)state;
    for (unsigned long round = rounds(100); round; round--) {
        struct gyre_options options = shared_options(temp_path("race"));
        const char *paths[6];
        struct gyre_pool *pool;

        for (size_t i = 0; i < COUNT(paths); i++) paths[i] = options.path;
        run_threads(COUNT(paths), open_and_add_as_thread, paths, sizeof *paths);
        pool = open_pool(&options);
        assert_int_equal(gyre_pool_count(pool), COUNT(paths));
        gyre_pool_close(pool);
        unlink(options.path);
    }
}

static void test_warm_restart(void **state)
{
    struct gyre_options options = shared_options(temp_path("warm"));
    uint64_t ids[10], secret, found;
    struct gyre_pool *pool = pool_of(10, ids, &options);
    struct gyre_proxy_spec spec = {
        .size = sizeof spec, .country = "DE", .region = "Bremen", .tags = "a,b", .cost = 0.5, .has_cost = 1};
    struct gyre_proxy before[10], after;
    struct gyre_lease lease;
    char text[256];

    (void)state;
    secret = add_url(pool, "https://user:p%40ss@gateway:8443");
    OK(gyre_pool_update(pool, ids[0], &spec));
    OK(gyre_pool_disable(pool, ids[1]));
    for (int i = 0; i < 5; i++) use_proxy(pool, ids[2], GYRE_PROXY_BAD);
    for (int i = 0; i < 30; i++) {
        OK(gyre_acquire_id(pool, ids[3 + i % 7], &lease));
        OK(gyre_complete_ms(pool, &lease, 1 + i % 6, 10.0 * i));
    }
    for (int i = 0; i < 10; i++) before[i] = proxy_of(pool, ids[i]);
    gyre_pool_close(pool);

    pool = open_pool(&options);
    assert_true(gyre_pool_time(pool) == 1000.0);
    for (int i = 0; i < 10; i++) {
        after = proxy_of(pool, ids[i]);
        assert_memory_equal(&after, &before[i], sizeof after);
    }
    assert_true(gyre_pool_url_with_credentials(pool, secret, text, sizeof text) > 0);
    OK(gyre_pool_find(pool, text, &found));
    EXPECT_COUNT(found, secret, "%s", text);
    EXPECT(GYRE_ENO_PROXY, gyre_acquire_id(pool, ids[1], &lease));
    OK(gyre_pool_remove(pool, ids[4]));
    found = add_url(pool, "http://later");
    assert_true(found != ids[4]);
    use_proxy(pool, found, GYRE_OK);
    gyre_pool_close(pool);
}

static void test_time_counts_on(void **state)
{
    struct gyre_options options = {.size = sizeof options, .path = temp_path("time"), .max_proxies = 64};
    struct gyre_pool *pool = open_pool(&options);
    double before = gyre_pool_time(pool), after;

    (void)state;
    gyre_pool_close(pool);
    usleep(50000);
    pool = open_pool(&options);
    after = gyre_pool_time(pool);
    /* CLOCK_MONOTONIC_COARSE moves in steps of 4 to 10 ms; the upper bound is for a machine that is very busy. */
    if (after - before < 0.035 || after - before > 30) fail_msg("50 ms became %g s", after - before);
    gyre_pool_close(pool);
}

/* ---- a reboot ---- */

struct before_reboot {
    const char *path;
    atomic_int ready;
    uint64_t benched, mortal;
    double time, benched_until, expires;
};

static struct gyre_options reboot_options(const char *path)
{
    struct gyre_options options = shared_options(path);

    options.clock = GYRE_CLOCK_SYSTEM;
    options.breaker_base = options.breaker_max = 1e6;
    options.session_ttl = 100;
    return options;
}

/* Leaves all that has a time, and a lease in flight, and lives on. */
static void live_on(void *argument)
{
    struct before_reboot *before = argument;
    struct gyre_options options = reboot_options(before->path);
    struct gyre_proxy_spec mortal = {.size = sizeof mortal, .url = "http://mortal", .ttl = 500, .has_ttl = 1};
    struct gyre_proxy_spec benched = {.size = sizeof benched, .url = "http://benched"};
    struct gyre_request request = {.size = sizeof request, .session = "cart"};
    struct gyre_proxy proxy = {.size = sizeof proxy};
    struct gyre_lease lease;
    struct gyre_pool *pool;

    REQUIRE(gyre_pool_open(&options, &pool) == 0);
    REQUIRE(gyre_pool_add(pool, &mortal, &before->mortal) == 0 && gyre_pool_add(pool, &benched, &before->benched) == 0);
    for (int i = 0; i < 5; i++) {
        REQUIRE(gyre_acquire_id(pool, before->benched, &lease) == 0);
        REQUIRE(gyre_complete_ms(pool, &lease, GYRE_PROXY_BAD, -1.0) == 0);
    }
    REQUIRE(gyre_acquire(pool, &request, &lease) == 0);
    REQUIRE(gyre_complete_ms(pool, &lease, GYRE_OK, 10.0) == 0);
    usleep(1200000); /* once a second a tick notes the time */
    REQUIRE(gyre_acquire(pool, NULL, &lease) == 0);
    REQUIRE(gyre_pool_get(pool, before->benched, &proxy) == 0 && proxy.state == GYRE_OPEN);
    before->benched_until = proxy.benched_until;
    REQUIRE(gyre_pool_get(pool, before->mortal, &proxy) == 0);
    before->expires = proxy.expires;
    before->time = gyre_pool_time(pool);
    struct flock locks = {.l_type = F_UNLCK, .l_whence = SEEK_SET}; /* none on the file survives a reboot */
    for (int fd = 3; fd < 256; fd++) fcntl(fd, F_OFD_SETLK, &locks);
    atomic_store(&before->ready, 1);
    for (;;) pause();
}

/*
 * Another boot id, 50 s later by the wall clock: whoever is in the table is dead, though a process with that pid and start time
 * lives, and so is the holder of the lock; what was in flight is aborted; all times go on from 50 s later.
 */
static void test_reboot(void **state)
{
    struct before_reboot *before = mmap(NULL, sizeof *before, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct gyre_options options = reboot_options(before->path = temp_path("reboot"));
    struct gyre_session session = {.size = sizeof session};
    struct segment_control *control;
    struct gyre_pool *pool;
    struct gyre_lease lease;
    char *memory;
    pid_t child;
    int fd;

    (void)state;
    child = spawn(live_on, before);
    for (int i = 0; !atomic_load(&before->ready) && i < 5000; i++) usleep(10000);
    assert_true(atomic_load(&before->ready));
    fd = open(options.path, O_RDWR);
    memory = mmap(NULL, 2 * HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(memory != MAP_FAILED);
    control = (struct segment_control *)(void *)(memory + HEADER_SIZE);
    control->boot_id[0] ^= 0xff;
    control->seen_realtime_ms -= 50000;
    control->lock = 1u << 11 | 1; /* the lock word of the process in the first entry */
    alarm(60);
    pool = open_pool(&options);
    alarm(0);
    EXPECT_COUNT(stats_of(pool).active, 0, "in flight before");
    EXPECT_COUNT(stats_of(pool).aborted, 1, "in flight before");
    if (gyre_pool_time(pool) < before->time + 49 || gyre_pool_time(pool) > before->time + 60)
        fail_msg("%g became %g", before->time, gyre_pool_time(pool));
    assert_int_equal(proxy_of(pool, before->benched).state, GYRE_OPEN);
    assert_true(proxy_of(pool, before->benched).benched_until == before->benched_until);
    assert_true(proxy_of(pool, before->mortal).expires == before->expires);
    OK(gyre_session_info(pool, "cart", &session));
    EXPECT_COUNT(session.proxy, before->mortal, "the session's proxy");
    assert_true(session.last_used <= before->time && session.expires <= session.last_used + 101);
    expect_nothing_found(pool, "after a reboot");
    OK(gyre_acquire(pool, NULL, &lease));
    OK(gyre_complete_ms(pool, &lease, GYRE_OK, 1.0));
    gyre_pool_close(pool);
    slay(child);
    munmap(memory, 2 * HEADER_SIZE);
    munmap(before, sizeof *before);
    close(fd);
}

/* The words by which time goes on, as they are in the file, and how many of their changes are let pass. */
static const struct segment_control *watched;
static unsigned let_pass;
enum { STORES = 4 }; /* two of the offset, two of the boot id */

static int clock_was_written(void)
{
    static struct segment_control before;
    static int begun;

    if (begun && !memcmp(&before.manual_ms, &watched->manual_ms, LINE) && before.clock_offset_stamps == watched->clock_offset_stamps)
        return 0;
    memcpy(&before, watched, sizeof before);
    if (begun++ == STORES) stepping = 0;
    return begun > 1 && !let_pass--;
}

static void open_after_reboot(void *argument)
{
    struct gyre_pool *pool;

    gyre_pool_open(argument, &pool);
}

static void killed_after_reboot(void *argument)
{
    step_watch = clock_was_written;
    step_through(open_after_reboot, argument, 0);
}

/* Killed at any store by which the time is carried over a reboot: the next to open the file does it again, to the same effect. */
static void test_killed_after_reboot(void **state)
{
    int status = 1;

    (void)state;
    if (!CAN_STEP || under_valgrind()) skip();
    for (let_pass = 0; status; let_pass++) {
        struct gyre_options options = {.size = sizeof options, .path = temp_path("rebooted"), .max_proxies = 64, .max_bans = 64,
                                       .max_sessions = 64, .max_leases = 64};
        struct gyre_pool *pool = open_pool(&options);
        int fd = open(options.path, O_RDWR);
        char *memory = mmap(NULL, 2 * HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        struct segment_control *control = (struct segment_control *)(void *)(memory + HEADER_SIZE);
        double before = gyre_pool_time(pool);
        pid_t child;

        assert_true(memory != MAP_FAILED);
        gyre_pool_close(pool);
        control->boot_id[0] ^= 0xff;
        control->boot_id[15] ^= 0xff;
        control->seen_realtime_ms -= 50000;
        control->clock_offset_ms -= 700000000; /* the machine's clock had gone on by so much more */
        control->clock_offset_stamps -= 7000000;
        watched = control;
        child = spawn(killed_after_reboot, &options);
        assert_int_equal(waitpid(child, &status, 0), child);
        pool = open_pool(&options);
        if (gyre_pool_time(pool) < before + 49 || gyre_pool_time(pool) > before + 600)
            fail_msg("killed at store %u: %g became %g", let_pass, before, gyre_pool_time(pool));
        gyre_pool_close(pool);
        munmap(memory, 2 * HEADER_SIZE);
        close(fd);
    }
    assert_int_equal(let_pass, STORES + 1); /* the last one lived */
}

/* A wall clock that had stood at 1970: stamps do not wrap for that. */
static void test_reboot_with_a_wrong_clock(void **state)
{
    struct gyre_options options = shared_options(temp_path("1970"));
    struct gyre_pool *pool;

    (void)state;
    options.clock = GYRE_CLOCK_SYSTEM;
    gyre_pool_close(open_pool(&options));
    int fd = open(options.path, O_RDWR);
    char *memory = mmap(NULL, 2 * HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct segment_control *control = (struct segment_control *)(void *)(memory + HEADER_SIZE);
    assert_true(memory != MAP_FAILED);
    control->boot_id[0] ^= 0xff;
    control->seen_realtime_ms = 0;
    pool = open_pool(&options);
    if (!(gyre_pool_time(pool) >= 1e8 && gyre_pool_time(pool) < 1e8 + 600)) fail_msg("it is %g s", gyre_pool_time(pool));
    gyre_pool_close(pool);
    munmap(memory, 2 * HEADER_SIZE);
    close(fd);
}

/* ---- secrets ---- */

/* How often the word stands in the file. */
static int count_in_file(const char *path, const char *word)
{
    struct stat status;
    int fd = open(path, O_RDONLY), count = 0;

    assert_int_equal(fstat(fd, &status), 0);
    char *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0), *end = bytes + status.st_size;
    assert_true(bytes != MAP_FAILED);
    for (char *at = bytes; (at = memmem(at, (size_t)(end - at), word, strlen(word))) != NULL; at++) count++;
    munmap(bytes, (size_t)status.st_size);
    close(fd);
    return count;
}

/* Credentials are nowhere in the segment once their proxy has been removed, or its TTL has passed. */
static void test_credentials_are_wiped(void **state)
{
    static const char *const words[] = {"SECRETUSER", "SECRETPASS", "SECRETTAIL"};
    struct gyre_options options = shared_options(temp_path("wipe"));
    struct gyre_pool *pool = open_pool(&options);
    char url[300];

    (void)state;
    for (int mortal = 0; mortal < 2; mortal++) {
        struct gyre_proxy_spec spec = {.size = sizeof spec, .url = url, .ttl = 10, .has_ttl = (uint32_t)mortal};
        uint64_t id;

        snprintf(url, sizeof url, "http://SECRETUSER:SECRETPASS-%0100d-SECRETTAIL@h:80", 7); /* several blocks of text */
        OK(gyre_pool_add(pool, &spec, &id));
        for (size_t i = 0; i < COUNT(words); i++) EXPECT_COUNT(count_in_file(options.path, words[i]), 1, "%s", words[i]);
        add_url(pool, mortal ? "http://u:OTHER2@i:80" : "http://u:OTHER1@i:80");
        if (mortal) pass_time(pool, 20);
        else OK(gyre_pool_remove(pool, id));
        assert_int_equal(gyre_pool_count(pool), 1 + mortal);
        for (size_t i = 0; i < COUNT(words); i++) EXPECT_COUNT(count_in_file(options.path, words[i]), 0, "%s, mortal %d", words[i], mortal);
        EXPECT_COUNT(count_in_file(options.path, "OTHER1"), 1, "another's");
    }
    gyre_pool_close(pool);
}

/* Has the kernel been told to leave the mapping at `address` out of core dumps? */
static bool is_undumped(const void *address)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[1024];
    bool here = false, undumped = false;

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) here = (uintptr_t)address >= from && (uintptr_t)address < to;
        if (here && !strncmp(line, "VmFlags:", 8)) undumped = strstr(line, " dd") != NULL;
    }
    fclose(maps);
    return undumped;
}

static void test_no_core_dump(void **state)
{
    struct gyre_options options = shared_options(temp_path("dump"));
    struct gyre_pool *shared = open_pool(&options), *private;

    (void)state;
    options.path = NULL;
    private = open_pool(&options);
    assert_true(is_undumped(gyre_pool_slots(shared)));
    assert_true(is_undumped(gyre_pool_slots(private)));
    assert_false(is_undumped(&options)); /* it can tell */
    gyre_pool_close(shared);
    gyre_pool_close(private);
}

static void test_file_mode(void **state)
{
    static const uint32_t modes[] = {0, 0600, 0640, 0660};
    mode_t old = umask(0);

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct gyre_options options = shared_options(temp_path("mode"));
        struct stat status;

        options.mode = modes[i];
        gyre_pool_close(open_pool(&options));
        assert_int_equal(stat(options.path, &status), 0);
        assert_int_equal(status.st_mode & 07777, modes[i] ? modes[i] : 0600);
        assert_true(S_ISREG(status.st_mode));
    }
    umask(old);
}

/* Opening `path` fails with one of the two errors and says something; nothing is made or changed there. */
static void expect_refused(const char *path, int error, int or_else)
{
    struct gyre_options options = shared_options(path);
    struct gyre_pool *pool = NULL;
    int result;

    alarm(20); /* a FIFO must not be waited for */
    result = gyre_pool_open(&options, &pool);
    alarm(0);
    if (result != error && result != or_else) fail_msg("%s: %d (%s)", path, result, gyre_detail());
    assert_string_not_equal(gyre_detail(), "");
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    if (size) assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void test_what_is_no_segment(void **state)
{
    static char garbage[1 << 20];
    struct rng rng = {test_seed(31)};
    struct stat status;
    char path[128], target[128];

    (void)state;
    for (size_t i = 0; i < sizeof garbage; i++) garbage[i] = (char)rng_next(&rng);
    for (size_t size = 1; size <= sizeof garbage; size *= 4) {
        snprintf(path, sizeof path, "%s", temp_path("garbage"));
        write_file(path, garbage, size);
        expect_refused(path, GYRE_ECORRUPT, GYRE_EABI);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, size);
    }
    snprintf(path, sizeof path, "%s", temp_path("text"));
    write_file(path, "http://u:hunter2@h\n", 19);
    expect_refused(path, GYRE_ECORRUPT, GYRE_ECORRUPT);
    snprintf(path, sizeof path, "%s", temp_path("zeros"));
    memset(garbage, 0, sizeof garbage);
    write_file(path, garbage, sizeof garbage);
    expect_refused(path, GYRE_ECORRUPT, GYRE_ECORRUPT);

    snprintf(path, sizeof path, "%s", temp_path("directory"));
    assert_int_equal(mkdir(path, 0700), 0);
    expect_refused(path, GYRE_ESYSTEM, GYRE_ECORRUPT);
    snprintf(path, sizeof path, "%s", temp_path("fifo"));
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_refused(path, GYRE_ESYSTEM, GYRE_ECORRUPT);
    expect_refused("/dev/shm/gyre-no-such-directory/x", GYRE_ESYSTEM, GYRE_ESYSTEM);
    expect_refused("/dev/null", GYRE_ESYSTEM, GYRE_ECORRUPT);

    /* Symbolic links: to a good segment, and to nothing, which must stay nothing. */
    snprintf(target, sizeof target, "%s", temp_path("target"));
    gyre_pool_close(
        open_pool(&(struct gyre_options){.size = sizeof(struct gyre_options), .path = target, .max_proxies = 64}));
    snprintf(path, sizeof path, "%s", temp_path("link"));
    assert_int_equal(symlink(target, path), 0);
    expect_refused(path, GYRE_ESYSTEM, GYRE_ECORRUPT);
    assert_int_equal(unlink(target), 0);
    expect_refused(path, GYRE_ESYSTEM, GYRE_ECORRUPT);
    assert_int_equal(access(target, F_OK), -1);
}

static void test_other_owner(void **state)
{
    struct gyre_options options = shared_options(temp_path("owner"));

    (void)state;
    gyre_pool_close(open_pool(&options));
    if (geteuid() != 0) {
        skip(); /* only root can give a file away */
    }
    assert_int_equal(chown(options.path, 65534, 65534), 0);
    expect_refused(options.path, GYRE_ESYSTEM, GYRE_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_handles),    cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_race_to_create), cmocka_unit_test(test_race_of_threads_to_create),
        cmocka_unit_test(test_warm_restart),   cmocka_unit_test(test_time_counts_on),
        cmocka_unit_test(test_reboot),         cmocka_unit_test(test_killed_after_reboot),
        cmocka_unit_test(test_reboot_with_a_wrong_clock), cmocka_unit_test(test_credentials_are_wiped),
        cmocka_unit_test(test_no_core_dump),
        cmocka_unit_test(test_file_mode),      cmocka_unit_test(test_what_is_no_segment),
        cmocka_unit_test(test_other_owner),
    };

    return cmocka_run_group_tests(tests, NULL, remove_temp);
}

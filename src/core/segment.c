/*
 * Segments: make, attach, check, leave. A file-backed segment is made under a temporary name and linked to its own when it
 * is complete, so nobody ever sees half of one; attaching checks the header before anything else is believed.
 * An flock on the file covers opening only.
 */
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "gyreseg";

static int system_error(const char *what, const char *path)
{
    int error = errno;
    return gyre__fail(GYRE_ESYSTEM, "%s %.200s: %s", what, path ? path : "memory", strerror(error));
}

/* ---- options ---- */

struct plan {
    struct segment_header header;
    const char *path;
    mode_t mode;
    gid_t group; /* of a new file; NO_GROUP: as the system does it */
    uint64_t start_ms; /* pool time of a new segment */
};
#define NO_GROUP ((gid_t)-1)

static uint32_t round_up(uint32_t n, uint32_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static int in_range(const char *name, double value, double low, double high, double fallback, double *out)
{
    *out = value == 0 ? fallback : value;
    if (value == 0 || (value >= low && value <= high)) return 0;
    return gyre__fail(GYRE_EINVALID, "option %s: %g is not between %g and %g", name, value, low, high);
}

static int plan_times(const struct gyre_options *o, struct segment_config *config)
{
    double window, timeout;
    int bad = in_range("window", o->window, 0.8, 1e7, 3600, &window);
    if (!bad) bad = in_range("lease_timeout", o->lease_timeout, 0.1, 1e8, 300, &timeout);
    if (!bad) bad = in_range("alpha", o->alpha, 1e-6, 1, 0.2, &config->alpha);
    if (!bad) bad = in_range("breaker_base", o->breaker_base, 0.1, 1e7, 30, &config->breaker_base);
    if (!bad) bad = in_range("breaker_max", o->breaker_max, 0.1, 1e7, 3600, &config->breaker_max);
    if (!bad && o->breaker_base == 0) config->breaker_base = fmin(config->breaker_base, config->breaker_max);
    if (!bad && config->breaker_base > config->breaker_max)
        bad = gyre__fail(GYRE_EINVALID, "option breaker_base: %g is above breaker_max, %g", o->breaker_base, config->breaker_max);
    if (!bad) bad = in_range("max_benched", o->max_benched, 1e-6, 1, 0.8, &config->max_benched);
    if (bad) return bad;
    double ttl, lifetime;
    bad = in_range("session_ttl", o->session_ttl, 0.1, 1e8, 3600, &ttl);
    if (!bad) bad = in_range("session_lifetime", o->session_lifetime, 0.1, 1e8, UINT32_MAX / 10.0, &lifetime);
    if (bad) return bad;
    config->session_ttl = (uint32_t)(ttl * 10);
    config->session_lifetime = o->session_lifetime == 0 ? UINT32_MAX : (uint32_t)(lifetime * 10);
    config->bucket_width = (uint32_t)(window * 10 / WINDOW_BUCKETS);
    config->lease_timeout = (uint32_t)(timeout * 10);
    return 0;
}

/* A group by name or number. Looked up here, for a name may be the only thing that is the same on two machines. */
static int plan_group(const char *name, gid_t *group)
{
    struct group entry, *found = NULL;
    char buffer[4096], *end;
    *group = NO_GROUP;
    if (!name || !*name) return 0;
    errno = 0;
    unsigned long number = strtoul(name, &end, 10);
    if (!*end && !errno && number < NO_GROUP && *name != '-') {
        *group = (gid_t)number;
        return 0;
    }
    int error = getgrnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (!found) return gyre__fail(GYRE_EINVALID, "option group: %.100s: %s", name, error ? strerror(error) : "no such group");
    *group = entry.gr_gid;
    return 0;
}

static int plan_segment(const struct gyre_options *options, struct plan *plan)
{
    static const struct gyre_options defaults = {.size = sizeof defaults};
    const struct gyre_options *o = options ? options : &defaults;
    struct segment_header *header = &plan->header;
    struct segment_config *config = &header->config;
    memset(plan, 0, sizeof *plan);
    if (o->size < sizeof *o) return gyre__fail(GYRE_EINVALID, "options.size is not set");
    if (o->path && !*o->path) return gyre__fail(GYRE_EINVALID, "option path: it is empty");
    if (o->max_proxies > MAX_PROXIES) return gyre__fail(GYRE_EINVALID, "option max_proxies: %u is above %u", o->max_proxies, MAX_PROXIES);
    if (o->max_leases > MAX_LEASES) return gyre__fail(GYRE_EINVALID, "option max_leases: %u is above %u", o->max_leases, MAX_LEASES);
    if (o->max_bans > MAX_BANS) return gyre__fail(GYRE_EINVALID, "option max_bans: %u is above %u", o->max_bans, MAX_BANS);
    if (o->max_sessions > MAX_SESSIONS) return gyre__fail(GYRE_EINVALID, "option max_sessions: %u is above %u", o->max_sessions, MAX_SESSIONS);
    if (o->picker > GYRE_PICK_HASH) return gyre__fail(GYRE_EINVALID, "option picker: %u is none", o->picker);
    if (o->clock > GYRE_CLOCK_MANUAL) return gyre__fail(GYRE_EINVALID, "option clock: %u is none", o->clock);
    if (o->mode & ~0666u) return gyre__fail(GYRE_EINVALID, "option mode: %o has more than read and write bits", o->mode);
    if (!(o->start >= 0 && o->start <= 1e8)) return gyre__fail(GYRE_EINVALID, "option start: %g is not between 0 and 1e8", o->start);
    int bad = plan_times(o, config);
    if (!bad) bad = plan_group(o->group, &plan->group);
    if (bad) return bad;
    memcpy(header->magic, magic, sizeof magic);
    header->abi = GYRE_ABI;
    header->header_size = sizeof *header;
    header->max_proxies = round_up(o->max_proxies ? o->max_proxies : 65536, 64);
    header->max_leases = round_up(o->max_leases ? o->max_leases : 65536, LEASE_CHUNK);
    header->max_bans = round_up(o->max_bans ? o->max_bans : 65536, 64);
    header->max_sessions = o->max_sessions ? o->max_sessions : 131072;
    config->breaker_failures = o->breaker_failures ? o->breaker_failures : 5;
    config->picker = o->picker ? o->picker : GYRE_PICK_ROUND_ROBIN;
    config->clock = o->clock;
    config->seed = o->seed;
    while (!config->seed)
        if (getrandom(&config->seed, sizeof config->seed, 0) < 0 && errno != EINTR) return system_error("getrandom", NULL);
    gyre__layout(header);
    header->checksum = gyre__header_checksum(header);
    plan->path = o->path;
    plan->mode = o->mode ? o->mode : 0600;
    plan->start_ms = (uint64_t)(o->start * 1000);
    return 0;
}

/* ---- handle ---- */

static void *region(const struct gyre_pool *pool, enum region r)
{
    return (char *)pool->header + pool->header->region[r];
}

static int map_handle(void *memory, size_t size, struct gyre_pool **out)
{
    struct gyre_pool *pool = calloc(1, sizeof *pool);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!pool || page == MAP_FAILED) {
        if (page != MAP_FAILED) munmap(page, 4096);
        free(pool);
        return system_error("allocating", NULL);
    }
    madvise(page, 4096, MADV_WIPEONFORK);
    madvise(memory, size, MADV_DONTDUMP);
    pool->here = page;
    pool->serial = gyre__thread_serial();
    pool->header = memory;
    pool->size = size;
    pool->control = (struct segment_control *)(void *)((char *)memory + HEADER_SIZE);
    const struct segment_header *header = pool->header;
    pool->max_proxies = header->max_proxies;
    pool->max_leases = header->max_leases;
    pool->bucket_width = header->config.bucket_width;
    pool->lease_timeout = header->config.lease_timeout;
    pool->keep = header->max_leases >= 4096 ? THREAD_ENTRIES : 0;
    pool->clock = header->config.clock;
    pool->coarse = gyre__clock_function();
    pool->alpha = header->config.alpha;
    pool->slots = region(pool, REGION_SLOTS);
    pool->leases = region(pool, REGION_LEASES);
    pool->identity = region(pool, REGION_IDENTITY);
    pool->labels = region(pool, REGION_LABEL);
    pool->windows = region(pool, REGION_WINDOW);
    pool->health = region(pool, REGION_HEALTH);
    pool->index = region(pool, REGION_INDEX);
    pool->chunks = region(pool, REGION_CHUNKS);
    pool->label_index = region(pool, REGION_LABEL_INDEX);
    pool->label_texts = region(pool, REGION_LABELS);
    pool->text = region(pool, REGION_TEXT);
    pool->processes = region(pool, REGION_PROCESSES);
    pool->session_tags = region(pool, REGION_SESSION_TAGS);
    pool->sessions = region(pool, REGION_SESSIONS);
    pool->session_heads = region(pool, REGION_SESSION_HEADS);
    pool->session_tails = region(pool, REGION_SESSION_TAILS);
    pool->session_created = region(pool, REGION_SESSION_CREATED);
    pool->session_locks = region(pool, REGION_SESSION_LOCKS);
    pool->session_buckets = header->session_buckets;
    pool->session_ttl = header->config.session_ttl;
    pool->session_lifetime = header->config.session_lifetime;
    uint64_t seeds = header->config.seed;
    for (int i = 0; i < 2; i++) pool->session_seed[i] = random_mix(&seeds);
    pool->counters = region(pool, REGION_COUNTERS);
    pool->decisions = region(pool, REGION_DECISIONS);
    pool->strategies = region(pool, REGION_STRATEGY);
    pool->rates = region(pool, REGION_RATE);
    pool->ban_keys = region(pool, REGION_BAN_KEYS);
    pool->bans = region(pool, REGION_BANS);
    pool->host_keys = region(pool, REGION_HOST_KEYS);
    pool->hosts = region(pool, REGION_HOSTS);
    pool->ban_mask = header->ban_size - 1;
    pool->host_mask = header->host_size - 1;
    pool->paced = bits_at(region(pool, REGION_PACED), pool->max_proxies);
    pool->mortal = bits_at(region(pool, REGION_MORTAL), pool->max_proxies);
    pool->base = region(pool, REGION_BASE);
    pool->cursors = region(pool, REGION_VIEWS);
    pool->changes = region(pool, REGION_CHANGES);
    for (uint32_t i = 0; i < ACTIVE_LEVELS; i++)
        pool->level[i] = bits_at((char *)region(pool, REGION_LEVELS) + i * bits_bytes(pool->max_proxies), pool->max_proxies);
    pool->eligible = bits_at(region(pool, REGION_ELIGIBLE), pool->max_proxies);
    pool->live = bits_at(region(pool, REGION_LIVE), pool->max_proxies);
    pool->free = bits_at(region(pool, REGION_FREE), pool->max_proxies);
    pool->benched = bits_at(region(pool, REGION_BENCHED), pool->max_proxies);
    *out = pool;
    return 0;
}

static void free_handle(struct gyre_pool *pool)
{
    gyre__thread_free_all(pool);
    if (pool->mapping) gyre__mapping_drop(pool->mapping);
    else munmap(pool->header, pool->size);
    munmap(pool->here, 4096);
    free(pool);
}

/* ---- making ---- */

static void read_boot_id(uint8_t id[16])
{
    char text[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    memset(id, 0, 16);
    for (ssize_t i = 0, k = 0; i < n && k < 32; i++) {
        int digit = text[i] >= '0' && text[i] <= '9' ? text[i] - '0' : text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 10 : -1;
        if (digit < 0) continue;
        id[k / 2] = (uint8_t)(id[k / 2] << 4 | digit);
        k++;
    }
}

/* Writes the first state into zeroed memory. Nobody else sees it yet. */
static void initialise(void *memory, const struct plan *plan)
{
    const struct segment_header *header = &plan->header;
    uint8_t boot[16];
    struct segment_control *control = (struct segment_control *)(void *)((char *)memory + HEADER_SIZE);
    struct bits free_slots = bits_at((char *)memory + header->region[REGION_FREE], header->max_proxies);
    memcpy(memory, header, sizeof *header);
    for (uint32_t i = 0; i < header->max_proxies; i++) bits_set(&free_slots, i);
    read_boot_id(boot);
    control->seen_ms = control->manual_ms = plan->start_ms;
    gyre__clock_attach(control, boot, true, header->config.clock == GYRE_CLOCK_MANUAL);
    control->random = random_seed(header->config.seed, 0);
    control->labels = 1;
    control->prior = 1.0;
    control->strategy = header->config.picker;
    control->due = control->due_paced = control->due_mortal = UINT32_MAX;
}

static int make_private(const struct plan *plan, void **memory)
{
    *memory = mmap(NULL, plan->header.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (*memory == MAP_FAILED) return system_error("mapping", NULL);
    initialise(*memory, plan);
    return 0;
}

/* In pieces: a signal interrupts it, and the system takes back what it had got of the piece by then. 0 or an errno. */
static int reserve(int fd, uint64_t size)
{
    uint64_t piece = UINT64_C(1) << 18;
    for (uint64_t at = 0; at < size;) {
        int error = posix_fallocate(fd, (off_t)at, (off_t)(size - at < piece ? size - at : piece));
        if (!error) at += piece;
        else if (error != EINTR) return error;
        else if (piece > 4096) piece /= 2;
    }
    return 0;
}

/* Fills a new file completely; its blocks are reserved, since a full /dev/shm would be a SIGBUS later. */
static int fill_file(int fd, const struct plan *plan, const char *name)
{
    /* The group first: changing it would take bits off the mode. */
    if (plan->group != NO_GROUP && fchown(fd, (uid_t)-1, plan->group) < 0) return system_error("changing the group of", plan->path);
    if (fchmod(fd, plan->mode) < 0) return system_error("chmod of", plan->path);
    int error = reserve(fd, plan->header.size);
    if (error) {
        return gyre__fail(GYRE_ESYSTEM, "reserving %llu MiB for %.200s: %s; smaller max_proxies, max_sessions, max_bans and max_leases need less",
                          (unsigned long long)(plan->header.size >> 20), plan->path, strerror(error));
    }
    void *memory = mmap(NULL, plan->header.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return system_error("mapping", plan->path);
    initialise(memory, plan);
    munmap(memory, plan->header.size);
    if (!link(name, plan->path)) return 1;
    return errno == EEXIST ? 0 : system_error("linking", plan->path);
}

/* Makes the file: 1, or 0 when somebody else did meanwhile. */
static int make_file(const struct plan *plan)
{
    char name[4096];
    unsigned long long serial = gyre__thread_serial(); /* threads of one process may be at this at once */
    int length = snprintf(name, sizeof name, "%s.%u-%ld-%llu.new", plan->path, gyre__pid_space(), (long)getpid(), serial);
    if (length < 0 || (size_t)length >= sizeof name)
        return gyre__fail(GYRE_EINVALID, "the path is too long");
    unlink(name); /* of a process with our pid that was killed at this */
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return system_error("creating", plan->path);
    int result = fill_file(fd, plan, name);
    unlink(name);
    close(fd);
    return result;
}

/* ---- attaching ---- */

static int check_owner(int fd, const char *path, struct stat *st)
{
    if (fstat(fd, st) < 0) return system_error("looking at", path);
    if (!S_ISREG(st->st_mode)) return gyre__fail(GYRE_ECORRUPT, "%.200s is no regular file", path);
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return gyre__fail(GYRE_ESYSTEM, "%.200s belongs to user %u, not to %u or root", path, st->st_uid, geteuid());
    return 0;
}

static int check_header(const struct segment_header *header, uint64_t file_size, const char *path)
{
    struct segment_header expected = *header;
    if (memcmp(header->magic, magic, sizeof magic)) return gyre__fail(GYRE_ECORRUPT, "%.200s is no gyre segment", path);
    if (header->abi != GYRE_ABI)
        return gyre__fail(GYRE_EABI, "%.200s has layout %u, this library %u; save it with the gyre that made it (gyre pool save), and load "
                          "that with this one", path, header->abi, GYRE_ABI);
    if (header->header_size != sizeof *header || header->checksum != gyre__header_checksum(header))
        return gyre__fail(GYRE_ECORRUPT, "%.200s: the header is damaged", path);
    if (!header->max_proxies || header->max_proxies > MAX_PROXIES || header->max_proxies % 64 ||
        !header->max_leases || header->max_leases > MAX_LEASES || header->max_leases % LEASE_CHUNK ||
        !header->max_bans || header->max_bans > MAX_BANS || header->max_bans % 64 ||
        !header->max_sessions || header->max_sessions > MAX_SESSIONS)
        return gyre__fail(GYRE_ECORRUPT, "%.200s: impossible capacities", path);
    gyre__layout(&expected);
    if (memcmp(&expected, header, sizeof expected) || !header->config.bucket_width)
        return gyre__fail(GYRE_ECORRUPT, "%.200s: the header contradicts itself", path);
    if (header->size > file_size)
        return gyre__fail(GYRE_ECORRUPT, "%.200s is cut off: %llu bytes of %llu", path, (unsigned long long)file_size,
                          (unsigned long long)header->size);
    return 0;
}

/* Maps the file, for one handle. The descriptor is the mapping's from then on. */
static int map_file(int fd, const char *path, struct mapping **mapping)
{
    union {
        struct segment_header header;
        char page[HEADER_SIZE];
    } first;
    struct stat st;
    int bad = check_owner(fd, path, &st);
    if (bad) return bad;
    if (pread(fd, &first, sizeof first, 0) != (ssize_t)sizeof first)
        return gyre__fail(GYRE_ECORRUPT, "%.200s is no gyre segment: only %lld bytes", path, (long long)st.st_size);
    bad = check_header(&first.header, (uint64_t)st.st_size, path);
    if (bad) return bad;
    size_t size = first.header.size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return system_error("mapping", path);
    *mapping = gyre__mapping_add(&st, memory, size, fd);
    if (*mapping) return 0;
    munmap(memory, size);
    return system_error("allocating for", path);
}

/*
 * The mapping of the file that is there in this process already. Nothing is opened: a process that may not open the file, but
 * has inherited its mapping by fork, can attach all the same (an nginx worker of user nobody whose master, root, opened a file
 * of mode 0600).
 */
static struct mapping *mapped_already(const char *path)
{
    struct stat st;
    return lstat(path, &st) < 0 ? NULL : gyre__mapping_find(&st);
}

/* After a reboot no pid in the file means anything: everybody in it is dead, and so is the holder of the lock. */
static void after_reboot(struct gyre_pool *pool)
{
    for (uint32_t i = 0; i < MAX_PROCESSES; i++)
        if (load_relaxed(&pool->processes[i].state)) store_relaxed(&pool->processes[i].state, (uint32_t)PROCESS_DEAD);
    store_relaxed(&pool->control->lock, 0u);
}

/* Nobody else is attached and alive: what a former user left half done is mended now rather than met later. */
static void revive(struct gyre_pool *pool)
{
    bool others = false;
    gyre__lock(pool);
    gyre__process_find_dead(pool);
    for (uint32_t i = 0; i < MAX_PROCESSES; i++)
        others = others || (i != pool->process && load_relaxed(&pool->processes[i].state) == PROCESS_ALIVE);
    if (!others) gyre__repair(pool);
    gyre__settle(pool);
    gyre__unlock(pool);
}

/* Made by us just now; a file that may have been left in any state by its last users; one that this process has mapped already. */
enum arrival { MADE, FOUND, AGAIN };

/* A container may have a boot_id of its own: as long as anybody lives who is in the file, there was no reboot. */
static int enter(struct gyre_pool *pool, enum arrival arrival)
{
    bool fresh = arrival == MADE;
    uint8_t boot[16];
    read_boot_id(boot);
    if (arrival == FOUND && memcmp(boot, pool->control->boot_id, sizeof boot) != 0 && !gyre__process_any_held(pool)) {
        after_reboot(pool);
        gyre__clock_attach(pool->control, boot, false, pool->clock == GYRE_CLOCK_MANUAL);
    }
    int bad = gyre__process_register(pool);
    if (bad) return bad;
    *pool->here = pool->serial;
    if (!fresh) revive(pool);
    gyre__tick(pool, clock_stamp(pool));
    return 0;
}

static int open_private(const struct plan *plan, struct gyre_pool **out)
{
    void *memory = NULL;
    int bad = make_private(plan, &memory);
    if (bad) return bad;
    bad = map_handle(memory, plan->header.size, out);
    if (bad) munmap(memory, plan->header.size);
    return bad ? bad : enter(*out, MADE);
}

/* A handle on a mapping that was taken for it. */
static int open_mapping(struct mapping *mapping, enum arrival arrival, struct gyre_pool **out)
{
    size_t size;
    void *memory = gyre__mapping_memory(mapping, &size);
    int bad = map_handle(memory, size, out);
    if (bad) {
        gyre__mapping_drop(mapping);
        return bad;
    }
    (*out)->mapping = mapping;
    bad = enter(*out, arrival);
    if (bad) free_handle(*out);
    return bad;
}

/* Opens the file, or makes it. Returns a descriptor or an error below 0. */
static int open_file(const struct plan *plan, bool *made)
{
    int fd = open(plan->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        int result = make_file(plan);
        if (result < 0) return result;
        *made = result > 0;
        fd = open(plan->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd > STDERR_FILENO) return fd;
    if (fd >= 0) { /* what prints would write into the segment */
        int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (higher < 0) system_error("opening", plan->path);
        close(fd);
        return higher < 0 ? GYRE_ESYSTEM : higher;
    }
    return errno == ELOOP ? gyre__fail(GYRE_ESYSTEM, "%.200s is a symbolic link", plan->path) : system_error("opening", plan->path);
}

/* A signal is no reason to give up. */
static int lock_file(int fd)
{
    int result;
    do result = flock(fd, LOCK_EX);
    while (result < 0 && errno == EINTR);
    return result;
}

static int enter_file(int fd, const char *path, bool made, struct gyre_pool **out)
{
    struct mapping *mapping = NULL;
    int bad = lock_file(fd) < 0 ? system_error("locking", path) : map_file(fd, path, &mapping);
    if (mapping) bad = open_mapping(mapping, made ? MADE : FOUND, out);
    if (mapping && bad) return bad; /* the descriptor was closed with the mapping */
    flock(fd, LOCK_UN);
    if (bad) close(fd);
    return bad;
}

static int open_shared(const struct plan *plan, struct gyre_pool **out)
{
    bool made = false;
    int result;
    gyre__mapping_begin();
    struct mapping *mapping = mapped_already(plan->path);
    if (mapping) result = open_mapping(mapping, AGAIN, out);
    else if ((result = open_file(plan, &made)) >= 0) result = enter_file(result, plan->path, made, out);
    gyre__mapping_end();
    return result;
}

GYRE_API int gyre_pool_open(const struct gyre_options *options, struct gyre_pool **pool)
{
    struct plan plan;
    if (!pool) return gyre__fail(GYRE_EINVALID, "no place for the pool");
    *pool = NULL;
    int bad = plan_segment(options, &plan);
    if (!bad) bad = plan.path ? open_shared(&plan, pool) : open_private(&plan, pool);
    if (bad) *pool = NULL;
    return bad;
}

GYRE_API void gyre_pool_close(struct gyre_pool *pool)
{
    if (!pool) return;
    gyre__hook_close(pool);
    if (*pool->here) gyre__process_leave(pool); /* a forked child that never used the handle has nothing to give back */
    free_handle(pool);
}

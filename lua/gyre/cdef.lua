-- Generated from src/include/gyre/gyre.h by src/core/gen-cdef.sh; do not edit. The comments are in the header.
local ffi = require "ffi"

-- A second load in one VM (package.loaded was cleared) must not define the structs again.
if not pcall(ffi.typeof, "struct gyre_lease") then
  ffi.cdef [[
enum gyre_error {
    GYRE_EINVALID = -1,
    GYRE_ENO_PROXY = -2,
    GYRE_EBUSY = -3,
    GYRE_EFULL = -4,
    GYRE_EEXISTS = -5,
    GYRE_ENOT_FOUND = -6,
    GYRE_ECLOSED = -7,
    GYRE_ECORRUPT = -8,
    GYRE_EABI = -9,
    GYRE_ESYSTEM = -10,
};

enum gyre_verdict {
    GYRE_OK = 1,
    GYRE_BANNED = 2,
    GYRE_THROTTLED = 3,
    GYRE_PROXY_BAD = 4,
    GYRE_TARGET_BAD = 5,
    GYRE_ABORTED = 6
};

enum gyre_scheme {
    GYRE_HTTP = 1,
    GYRE_HTTPS = 2,
    GYRE_SOCKS4 = 3,
    GYRE_SOCKS4A = 4,
    GYRE_SOCKS5 = 5,
    GYRE_SOCKS5H = 6
};

enum gyre_state {
    GYRE_CLOSED = 1,
    GYRE_OPEN = 2,
    GYRE_HALF_OPEN = 3,
    GYRE_DRAINING = 4,
    GYRE_DISABLED = 5
};

enum gyre_picker {
    GYRE_PICK_ROUND_ROBIN = 1,
    GYRE_PICK_RANDOM = 2,
    GYRE_PICK_LEAST_USED = 3,
    GYRE_PICK_LEAST_ACTIVE = 4,
    GYRE_PICK_BEST = 5,
    GYRE_PICK_WEIGHTED = 6,
    GYRE_PICK_HASH = 7
};

enum gyre_clock {
    GYRE_CLOCK_SYSTEM = 0,
    GYRE_CLOCK_MANUAL = 1
};

struct gyre_options {
    uint32_t size;
    uint32_t mode;
    const char *path;
    uint32_t max_proxies;
    uint32_t max_leases;
    uint32_t max_sessions;
    uint32_t max_bans;
    uint32_t picker;
    uint32_t clock;
    uint64_t seed;
    double alpha;
    double window;
    double lease_timeout;
    double session_ttl;
    double session_lifetime;
    uint32_t breaker_failures;
    uint32_t reserved;
    double breaker_base;
    double breaker_max;
    double max_benched;
    const char *group;
    double start;
};

struct gyre_proxy_spec {
    uint32_t size;
    uint32_t max_active;
    const char *url;
    const char *country;
    const char *region;
    const char *tags;
    double weight;
    double cost;
    const char *rate;
    double ttl;
    uint32_t has_weight, has_cost, has_max_active, has_ttl;
};

struct gyre_slot {
    uint64_t use;
    uint64_t failed;
    uint64_t aborted;
    double ema_ms;
    uint32_t generation;
    uint32_t flags;
    uint32_t consecutive_failures;
    float success_rate;
    uint32_t last_used;
    uint32_t last_sample;
    uint32_t window_bucket;
    float weight;
};

struct gyre_proxy {
    uint32_t size;
    uint32_t state;
    uint64_t id;
    uint64_t started, completed, succeeded, failed, aborted;
    uint64_t window_started, window_succeeded, window_failed;
    uint64_t bytes;
    double ema_ms;
    double success_rate;
    double last_used;
    double benched_until;
    double expires;
    double rate_period;
    double weight, cost;
    uint32_t active;
    uint32_t consecutive_failures;
    uint32_t max_active;
    uint32_t scheme;
    uint32_t port;
    uint32_t rate_count;
    char host[256];
    char country[64], region[64];
    char tags[768];
};

struct gyre_stats {
    uint32_t size;
    uint32_t proxies, eligible;
    uint32_t benched, half_open, disabled, draining;
    uint32_t bench_refused;
    uint32_t ban_refused;
    uint32_t ban_blamed;
    uint64_t started, completed, succeeded, failed, aborted, active;
};

struct gyre_request {
    uint32_t size;
    uint32_t picker;
    const uint64_t *exclude;
    uint32_t exclude_count;
    uint32_t choices;
    const char *session;
    const char *host;
    const char *key;
    const char *country;
    const char *region;
    const char *tags;
    uint32_t random_ties;
    uint32_t state;
    double min_success;
    double max_ms;
    uint32_t unlogged;
    uint32_t reserved;
};

struct gyre_strategy {
    uint32_t size;
    uint32_t generation;
    uint32_t picker;
    uint32_t choices;
    uint32_t random_ties;
    uint32_t scripted;
    char name[256];
    char fallback[64];
    char options[3072];
};

enum gyre_how {
    GYRE_PICKED = 0,
    GYRE_SESSION_HIT = 1,
    GYRE_SESSION_NEW = 2,
    GYRE_SESSION_MOVED = 3
};

struct gyre_lease {
    uint64_t id;
    uint32_t slot;
    uint32_t generation;
    uint32_t entry, serial;
    uint64_t host;
    uint32_t strategy;
    uint32_t how;
};

struct gyre_ban {
    uint32_t size;
    uint32_t strikes;
    uint64_t id;
    double until;
    uint32_t judged;
    uint32_t reserved;
    uint64_t hash;
    char host[256];
};

struct gyre_throttle {
    uint32_t size;
    uint32_t length;
    uint64_t hash;
    double left;
    char host[256];
};

struct gyre_window_note {
    double ago;
    uint32_t started, succeeded, failed;
    uint32_t reserved;
};

struct gyre_books {
    uint32_t size;
    uint32_t state;
    uint64_t succeeded, failed, aborted, bytes;
    double ema_ms;
    double success_rate;
    double used_ago;
    double sampled_ago;
    double bench_left;
    int64_t level;
    uint32_t unplaced;
    uint32_t opened;
    uint32_t consecutive_failures;
    uint32_t rate_used;
    uint32_t notes;
    uint32_t reserved;
    struct gyre_window_note note[8];
};

struct gyre_check {
    uint32_t size;
    uint32_t findings;
    char first[248];
};

struct gyre_outcome {
    uint32_t size;
    uint32_t verdict;
    double ms;
    uint64_t bytes;
    double retry_after;
    uint32_t has_ms;
    uint32_t reserved;
};

struct gyre_session {
    uint32_t size;
    uint32_t reserved;
    uint64_t proxy;
    double created;
    double last_used;
    double expires;
    char id[136];
};

struct gyre_session_stats {
    uint32_t size;
    uint32_t count;
    uint32_t capacity;
    uint32_t reserved;
    uint64_t hits;
    uint64_t assigned;
    uint64_t moved;
    uint64_t evicted, expired, closed;
};

struct gyre_counter {
    uint32_t size;
    uint32_t reserved;
    double value;
    char name[48];
};

struct gyre_decision {
    uint32_t size;
    uint32_t candidates;
    uint64_t sequence;
    uint64_t lost;
    uint64_t proxy;
    uint64_t session;
    double time;
    uint32_t generation;
    uint32_t process;
    char strategy[32];
    char reason[96];
};

struct gyre_url {
    uint32_t scheme;
    uint32_t port;
    char host[256];
    char user[512];
    char password[1024];
    uint32_t has_user, has_password;
};

struct gyre_pool;

const char *gyre_version(void);
int gyre_abi(void);
int gyre_struct_size(const char *name);
const char *gyre_strerror(int error);
const char *gyre_error_name(int error);
const char *gyre_detail(void);
int gyre_url_parse(const char *text, struct gyre_url *url);
int gyre_pool_open(const struct gyre_options *options, struct gyre_pool **pool);
int gyre_pool_options(struct gyre_pool *pool, struct gyre_options *options);
void gyre_pool_close(struct gyre_pool *pool);
int gyre_pool_add(struct gyre_pool *pool, const struct gyre_proxy_spec *spec, uint64_t *id);
int gyre_pool_remove(struct gyre_pool *pool, uint64_t id);
int gyre_pool_update(struct gyre_pool *pool, uint64_t id, const struct gyre_proxy_spec *spec);
int gyre_pool_get(struct gyre_pool *pool, uint64_t id, struct gyre_proxy *proxy);
int gyre_pool_find(struct gyre_pool *pool, const char *url, uint64_t *id);
int gyre_pool_count(struct gyre_pool *pool);
int gyre_pool_next(struct gyre_pool *pool, uint64_t *id);
int gyre_pool_url(struct gyre_pool *pool, uint64_t id, char *buffer, size_t size);
int gyre_pool_url_with_credentials(struct gyre_pool *pool, uint64_t id, char *buffer, size_t size);
int gyre_books_get(struct gyre_pool *pool, uint64_t id, struct gyre_books *books);
int gyre_books_set(struct gyre_pool *pool, uint64_t id, const struct gyre_books *books);
int gyre_pool_disable(struct gyre_pool *pool, uint64_t id);
int gyre_pool_drain(struct gyre_pool *pool, uint64_t id);
int gyre_pool_enable(struct gyre_pool *pool, uint64_t id);
int gyre_pool_stats(struct gyre_pool *pool, struct gyre_stats *stats);
int gyre_pool_reset_counters(struct gyre_pool *pool);
int gyre_host_ban(struct gyre_pool *pool, uint64_t id, const char *host, double seconds);
int gyre_host_unban(struct gyre_pool *pool, uint64_t id, const char *host);
int gyre_host_next(struct gyre_pool *pool, uint32_t *cursor, struct gyre_ban *ban);
int gyre_host_throttle(struct gyre_pool *pool, const char *host, double seconds);
int gyre_ban_restore(struct gyre_pool *pool, const struct gyre_ban *ban);
int gyre_throttle_next(struct gyre_pool *pool, uint32_t *cursor, struct gyre_throttle *throttle);
int gyre_throttle_restore(struct gyre_pool *pool, const struct gyre_throttle *given);
int gyre_lease_host(struct gyre_lease *lease, const char *host);
double gyre_host_delay(struct gyre_pool *pool, const char *host);
double gyre_host_blamed(struct gyre_pool *pool, const char *host);
int gyre_pool_check(struct gyre_pool *pool, struct gyre_check *report);
int gyre_pool_repair(struct gyre_pool *pool);
const struct gyre_slot *gyre_pool_slots(struct gyre_pool *pool);
double gyre_pool_time(struct gyre_pool *pool);
int gyre_pool_set_time(struct gyre_pool *pool, double seconds);
int gyre_strategy_set(struct gyre_pool *pool, const struct gyre_strategy *strategy, uint32_t *generation);
int gyre_strategy_get(struct gyre_pool *pool, struct gyre_strategy *strategy);
const uint32_t *gyre_strategy_generation(struct gyre_pool *pool);
const uint32_t *gyre_pool_epoch(struct gyre_pool *pool);
int gyre_acquire(struct gyre_pool *pool, const struct gyre_request *request, struct gyre_lease *lease);
int gyre_pick(struct gyre_pool *pool, const struct gyre_request *request, uint64_t *id);
int gyre_sample(struct gyre_pool *pool, const struct gyre_request *request, uint64_t *ids, int want);
int gyre_list(struct gyre_pool *pool, const struct gyre_request *request, uint32_t *slots, int capacity);
int gyre_pool_eligible(struct gyre_pool *pool, const struct gyre_request *request);
int gyre_acquire_id(struct gyre_pool *pool, uint64_t id, struct gyre_lease *lease);
int gyre_acquire_chosen(struct gyre_pool *pool, const struct gyre_request *request, uint64_t id,
                                 struct gyre_lease *lease);
int gyre_probe(struct gyre_pool *pool, uint64_t id, struct gyre_lease *lease);
int gyre_complete(struct gyre_pool *pool, struct gyre_lease *lease, const struct gyre_outcome *outcome);
int gyre_complete_ms(struct gyre_pool *pool, struct gyre_lease *lease, int verdict, double ms);
int gyre_session_get(struct gyre_pool *pool, const char *session, uint64_t *proxy);
int gyre_session_use(struct gyre_pool *pool, const char *session, uint64_t *proxy);
int gyre_session_assign(struct gyre_pool *pool, const char *session, uint64_t proxy, uint64_t refused,
                                 uint64_t *winner);
int gyre_session_restore(struct gyre_pool *pool, const char *session, uint64_t proxy, double created_ago,
                                  double used_ago);
int gyre_session_close(struct gyre_pool *pool, const char *session);
int gyre_session_close_all(struct gyre_pool *pool);
int gyre_session_cleanup(struct gyre_pool *pool);
int gyre_session_next(struct gyre_pool *pool, uint64_t *cursor, struct gyre_session *session);
int gyre_session_info(struct gyre_pool *pool, const char *id, struct gyre_session *session);
int gyre_session_stats(struct gyre_pool *pool, struct gyre_session_stats *stats);
int gyre_counter_add(struct gyre_pool *pool, const char *name, double delta, double *value);
int gyre_counter_get(struct gyre_pool *pool, const char *name, double *value);
int gyre_counter_next(struct gyre_pool *pool, uint64_t *cursor, struct gyre_counter *counter);
int gyre_log_enable(struct gyre_pool *pool, double sample_rate);
double gyre_log_share(struct gyre_pool *pool);
int gyre_log_sample(struct gyre_pool *pool);
uint64_t gyre_session_hash(struct gyre_pool *pool, const char *session);
int gyre_log_write(struct gyre_pool *pool, const struct gyre_decision *decision);
int gyre_log_read(struct gyre_pool *pool, uint64_t *cursor, struct gyre_decision *decision);
]]
end

return {
  abi = 4,
  -- gyre_struct_size() must agree with ffi.sizeof() about each of these.
  structs = {
    "options",
    "proxy_spec",
    "slot",
    "proxy",
    "stats",
    "request",
    "strategy",
    "lease",
    "ban",
    "throttle",
    "window_note",
    "books",
    "check",
    "outcome",
    "session",
    "session_stats",
    "counter",
    "decision",
    "url",
  },
}

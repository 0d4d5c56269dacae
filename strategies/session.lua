-- Sticky: requests with the same session get the same proxy, until the session is over or its proxy goes out; then
-- `over` picks once more, and that one sticks. ProxyWhirl's session-persistence, and the persistent mode of
-- ingress-nginx's sticky sessions. The table of sessions is the segment's, so this holds for all threads and processes,
-- and it holds for every strategy when a request names a session: this one says so, and can demand it.
-- over: who picks for new sessions, and for requests without one. required: requests without a session are refused
-- (missing_metadata), or served by the fallback. Costs what `over` does; an existing session some 30 ns. For logins and
-- carts. Not for many short sessions over few proxies: use consistent-hash, which keeps nothing.
return { name = "session",
  options = { over = "round-robin", required = false },
  configure = function(self, options)
    assert(type(options.required) == "boolean", ("required is true or false, not %s"):format(options.required))
    self.requires = options.required and { "session" } or nil
    local over = strategy(options.over)
    self.takes = over.takes
    self.steps = { { over } }
    self.title = "session over " .. (over.title or over.name)
  end,
}

-- The same proxy for the same cookie, without a session table: acquire { metadata = { cookie = "sid=42; a=b" } }. Who
-- joins or leaves moves only few cookies. Requests without the cookie go anywhere.
return {
  name = "sticky-cookie",
  options = { cookie = "sid" },
  configure = function(self, options)
    assert(options.cookie:find "^[%w_.-]+$", "a cookie has a simple name")
    self.pattern = "%f[%w_.-]" .. options.cookie:gsub("[.-]", "%%%0") .. "=([^;%s]+)"
  end,
  select = function(self, view, request)
    local header = type(request.metadata) == "table" and request.metadata.cookie
    local value = type(header) == "string" and header:match(self.pattern)
    return value and view:hash(value) or view:random()
  end,
}

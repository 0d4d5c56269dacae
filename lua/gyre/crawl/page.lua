-- A page, as the function `page` of a crawl sees it: an answer, what is on it, and what to do next.
local cjson = require "cjson"
local html = require "gyre.html"
local json = require "gyre.json"
local url = require "gyre.url"
local xpath = require "gyre.xpath"

local error, find, floor, ipairs, max, min, pairs = error, string.find, math.floor, ipairs, math.max, math.min, pairs
local pcall = pcall
local rawget, rawset, setmetatable, tostring, type = rawget, rawset, setmetatable, tostring, type

local LARGEST = 2 ^ 31 - 1
local FOLLOW_OPTIONS = { priority = true, data = true }

--- A page.
---@class gyre.Page
---@field url string in normal form
---@field status? integer nil when there was no answer
---@field headers table<string, string> by lower-case name
---@field body string
---@field title? string of its HTML
---@field proxy? gyre.Proxy that carried it
---@field ms? number
---@field bytes? number
---@field attempts integer proxies tried this time
---@field depth integer links from the start
---@field referrer? string the page that led here first
---@field data any what page:follow() was given with it
---@field tries integer how often it has come back before
---@field error? gyre.Error why there was no answer, for `failed`
local Page = {}

-- Made when first looked at.
local readers = {}

local function content_type(page)
  return page.headers and page.headers["content-type"]
end

-- Without a tree, which takes longer; but of the tree if there is one, or will be: when XPath was asked of the page
-- before.
function readers.html(page)
  local document = page.crawl.trees and page.document or rawget(page, "document")
  return document and xpath.html(document, page.url) or html(page.body or "", page.url, content_type(page))
end

function readers.title(page)
  return page.html.title
end

function readers.document(page)
  return xpath.parse(page.body or "", content_type(page))
end

-- What relative references are relative to. Only where there may be a <base> is the page read for it.
function readers.base_url(page)
  local href = find(page.body or "", "<[Bb][Aa][Ss][Ee]%s") and page.html.base
  return href and url.resolve(href, page.url) or page.url
end

function readers.data(page)
  local text = rawget(page, "data_text")
  return text and cjson.decode(text)
end

local FROM_RESPONSE = { status = true, headers = true, body = true, proxy = true, ms = true, bytes = true }

function Page.__index(page, key)
  local value = Page[key]
  if value ~= nil then
    return value
  end
  local response = rawget(page, "response")
  if FROM_RESPONSE[key] then
    return response and response[key]
  end
  local read = readers[key]
  if not read then
    return nil
  end
  value = read(page)
  rawset(page, key, value)
  return value
end

--- The links of the page, absolute, each once, in order.
---@param pattern? string a Lua pattern that they match
---@return string[]
function Page:links(pattern)
  local links = self.html.links
  if not pattern then
    return links
  end
  local kept = {}
  for _, link in ipairs(links) do
    if find(link, pattern) then
      kept[#kept + 1] = link
    end
  end
  return kept
end

--- What an XPath 1.0 expression finds on the page: a list of elements and texts, or a string, number or boolean.
--- Elements have :text(), :attr(name), :name() and :xpath(expression).
---@param expression string
---@return table|string|number|boolean
function Page:xpath(expression)
  self.searched = true
  return self.document:xpath(expression)
end

--- string.match on the body.
---@param pattern string
---@param from? integer
---@return string? ...
function Page:match(pattern, from)
  return self.body:match(pattern, from)
end

--- The body as JSON; raises when it is none.
---@return any
function Page:json()
  return cjson.decode(self.body)
end

-- A value as text; nil, and where it has something that no text can hold.
local function try(encode, value, called, ...)
  local ran, text, why = pcall(encode, value, ...)
  if ran then
    return text, why
  end
  return nil, json.unfit(value, called) or tostring(text)
end

local function check_open(page, called)
  if rawget(page, "ended") then
    error(called .. ": the page has ended: its function has returned", 3)
  end
end

--- Hands an item to the output. It is there when the page has ended well, and not at all otherwise.
---@param item table<string, any>
function Page:emit(item)
  check_open(self, "page:emit")
  if type(item) ~= "table" then
    error("page:emit takes a table, not a " .. type(item), 2)
  end
  for name in pairs(item) do
    if type(name) ~= "string" then
      error(("page:emit: the fields of an item have names, [%s] is none"):format(tostring(name)), 2)
    end
  end
  local text, why = try(self.crawl.encode, item, "the item")
  if not text then
    error("page:emit: " .. why, 2)
  end
  self.items[#self.items + 1] = text
end

-- What a page is given on its way, as text; false: nothing.
local function data_text(data)
  if data == nil then
    return false
  end
  local text, why = try(json.encode, data, "data", true)
  return text or error("page:follow: " .. why, 0)
end

-- A priority as the frontier has it, of what a job has given.
local function whole(priority)
  if type(priority) ~= "number" or priority ~= priority then
    error("a priority is a number, not " .. tostring(priority), 0)
  end
  return min(max(floor(priority), -LARGEST), LARGEST)
end

-- The priority of a URL by the crawl's option; without a page, of a start.
local function priority_of(crawl, target, depth, page)
  local priority = crawl.settings.given.priority or 0
  if type(priority) == "function" then
    priority = priority(target, depth, page)
  end
  return whole(priority)
end

-- Adds one absolute URL to what the page leads to; whether it is in scope.
local function follow(page, absolute, options, depth, hops)
  local target = absolute and url.normalise(absolute)
  if not target or not page.crawl.settings.in_scope(target, page) then
    return false
  end
  local priority, data = options.priority, data_text(options.data)
  priority = priority == nil and priority_of(page.crawl, target, depth, page) or whole(priority)
  local follows, at = page.follows, #page.follows -- nothing raises from here on: all five or none
  follows[at + 1], follows[at + 2], follows[at + 3] = target, depth, hops
  follows[at + 4], follows[at + 5] = priority, data
  return true
end

-- What a reference means on the page; nil: nothing that can be fetched. White space around it is not part of it.
local function absolute(page, reference)
  if find(reference, "^%a[%w+.-]*:[^%s%c]*$") then
    return reference
  end
  return url.resolve(reference, page.base_url)
end

--- Puts a URL, or each of a list, into the frontier, unless it is out of scope or known. It is there when the page has
--- ended well.
---@param target string|string[] absolute, or relative to the page, its <base> observed
---@param options? { priority?: number, data?: any } data: a value that JSON can hold, the new page's `data`
---@return integer count of those in scope
function Page:follow(target, options)
  check_open(self, "page:follow")
  options = options or {}
  for name in pairs(options) do
    if not FOLLOW_OPTIONS[name] then
      error(("unknown option '%s'"):format(tostring(name)), 2)
    end
  end
  local list, count = type(target) == "table" and target or { target }, 0
  for _, reference in ipairs(list) do
    if type(reference) ~= "string" then
      error("page:follow takes URLs, not a " .. type(reference), 2)
    end
    if follow(self, absolute(self, reference), options, self.depth + 1, 0) then
      count = count + 1
    end
  end
  return count
end

local page = { priority_of = priority_of }

--- Makes a page of what the frontier gave.
---@param crawl table
---@param fields table url, depth, hops, tries, priority, referrer, data_text
---@return gyre.Page
function page.new(crawl, fields)
  fields.crawl, fields.follows, fields.items = crawl, {}, {}
  return setmetatable(fields, Page)
end

--- Nothing more is added to it. Gives back what is large; who still looks at the page has it made again.
---@param self gyre.Page
function page.close(self)
  self.ended = true
  local document = rawget(self, "document")
  if document or rawget(self, "html") then
    self.crawl.trees = rawget(self, "searched") or false
  end
  if document then
    self.document = nil
    xpath.release(document)
  end
end

--- Follows a redirect: the same depth, one hop more.
---@param self gyre.Page
---@param location string
---@return boolean in_scope
function page.redirect(self, location)
  return follow(self, location, { priority = self.priority }, self.depth, self.hops + 1)
end

return page

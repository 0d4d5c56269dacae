// crawlee.mjs REQUESTS CONCURRENCY URL PROXY...: the work of net-bare by @crawlee/http. Prints the same. It does more: a
// queue with deduplication, sessions, generated browser headers, retries, statistics, an autoscaled pool.
import { Configuration, HttpCrawler, ProxyConfiguration, log, LogLevel } from "@crawlee/http";

const [requests, concurrency, url, ...proxyUrls] = process.argv.slice(2);
log.setLevel(LogLevel.OFF);
let done = 0, errors = 0;

const crawler = new HttpCrawler({
  proxyConfiguration: new ProxyConfiguration({ proxyUrls }),
  minConcurrency: Number(concurrency),
  maxConcurrency: Number(concurrency),
  maxRequestRetries: 0,
  additionalMimeTypes: ["text/plain"],
  requestHandler({ body }) { done++; if (body.length === 0) errors++; },
  failedRequestHandler() { done++; errors++; },
}, new Configuration({ persistStorage: false, availableMemoryRatio: 1 }));

const began = performance.now(), before = process.cpuUsage();
await crawler.run(Array.from({ length: Number(requests) }, (_, i) => `${url}?${i}`));
const cpu = process.cpuUsage(before), seconds = (performance.now() - began) / 1000;
console.log(done, errors, seconds.toFixed(3), ((cpu.user + cpu.system) / 1e6).toFixed(3), process.resourceUsage().maxRSS);
process.exit(errors > 0 ? 1 : 0);

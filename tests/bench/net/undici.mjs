// undici.mjs REQUESTS CONCURRENCY URL PROXY...: the work of net-bare by undici's ProxyAgent. Prints the same.
import { ProxyAgent, request } from "undici";

const [requests, concurrency, url, ...proxies] = process.argv.slice(2);
// proxyTunnel false: absolute-form requests, as everybody else here; CONNECT for each would cost it more.
const agents = proxies.map((uri) => new ProxyAgent({ uri, proxyTunnel: false }));
let started = 0, done = 0, errors = 0;

async function worker() {
  while (started < Number(requests)) {
    const dispatcher = agents[started++ % agents.length];
    try {
      const { statusCode, body } = await request(url, { dispatcher });
      const text = await body.text();
      if (statusCode !== 200 || text.length === 0) errors++;
    } catch { errors++; }
    done++;
  }
}

const began = performance.now(), before = process.cpuUsage();
await Promise.all(Array.from({ length: Number(concurrency) }, worker));
const cpu = process.cpuUsage(before), seconds = (performance.now() - began) / 1000;
console.log(done, errors, seconds.toFixed(3), ((cpu.user + cpu.system) / 1e6).toFixed(3), process.resourceUsage().maxRSS);
process.exit(errors > 0 ? 1 : 0);

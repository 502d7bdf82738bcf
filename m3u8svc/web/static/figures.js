// What the page of one task makes of its values: a command for curl, numbers as a request has them. Pure.

const PROXIES = { http: "http", https: "https", socks5: "socks5h" };

// Whether the result is a file of the service's own disk: not a directory of segments, nor kept by another storage.
export const hasFile = ({ output, merger, advanced_settings }) =>
  Boolean(output?.startsWith("/")) && merger !== "none" && !advanced_settings?.no_merge_ts;

// The numbers of a list as they are written in a request: 1-3,5.
export function ranges(numbers) {
  const found = [];
  for (const number of [...numbers].sort((one, other) => one - other)) {
    const last = found.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(",");
}

// The task's request as a command for a shell. What the API masks (a proxy's password) is `***` here, too.
export function curlOf(task) {
  const parts = ["curl", ...(/[[\]{}]/.test(task.url) ? ["-g"] : []), quoted(task.url)];   // those stand for several links to curl
  for (const [name, values] of Object.entries(task.header_map ?? {})) {
    for (const value of values) parts.push("-H", quoted(value ? `${name}: ${value}` : `${name};`));   // "Name:" takes a header away
  }
  const { allow_insecure_https, proxy_type, proxy_host, proxy_port, proxy_username, proxy_password } = task.advanced_settings ?? {};
  if (allow_insecure_https) parts.push("-k");
  if (proxy_type in PROXIES) {
    const host = String(proxy_host).includes(":") ? `[${proxy_host}]` : proxy_host;
    parts.push("-x", quoted(`${PROXIES[proxy_type]}://${host}:${proxy_port}`));
    if (proxy_username) parts.push("-U", quoted(`${proxy_username}:${proxy_password ?? ""}`));
  }
  return parts.join(" ");
}

// For a POSIX shell: nothing inside single quotes means anything but a single quote.
export const quoted = text => `'${String(text).replaceAll("'", "'\\''")}'`;

// Lets the servers' web page work under a path: it takes its origin for the address of its server, and its routes to
// begin at the root. Loaded before the page's own script; the path is the one this script itself was loaded from.
(() => {
  "use strict";
  const prefix = new URL(document.currentScript.src).pathname.replace(/\/[^/]*$/, "");
  const has = (path) => path === prefix || path.startsWith(prefix + "/");
  const under = (address) => {
    const url = URL.parse ? URL.parse(address, location.href) : new URL(address, location.href);
    if (!url || url.host !== location.host || has(url.pathname)) return address;
    url.pathname = prefix + url.pathname;
    return url.href;
  };

  const ask = window.fetch;
  window.fetch = (what, how) => ask(what instanceof Request ? new Request(under(what.url), what) : under(what), how);
  for (const name of ["EventSource", "WebSocket"]) {
    window[name] = class extends window[name] {
      constructor(address, ...rest) {
        super(under(address), ...rest);
      }
    };
  }

  // The page's router looks at the path when it starts and whenever somebody goes back or forth. Just then it is shown
  // one without the prefix; the address that a person sees, copies and reloads keeps it.
  const write = history.replaceState.bind(history);
  const tail = () => location.search + location.hash;
  let hidden = false;
  const hide = () => {
    if (hidden || !has(location.pathname)) return;
    hidden = true;
    write(history.state, "", (location.pathname.slice(prefix.length) || "/") + tail());
  };
  const show = () => {
    if (!hidden) return;
    hidden = false;
    write(history.state, "", prefix + location.pathname + tail());
  };
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name].bind(history);
    history[name] = (state, title, address) =>
      original(state, title, address == null || hidden ? address : under(address));
  }
  const listen = window.addEventListener.bind(window);
  listen("popstate", () => { hide(); setTimeout(show); }, true);
  window.addEventListener = (kind, ...rest) => {
    listen(kind, ...rest);
    // The router listens right after its first look.
    if (kind === "popstate") queueMicrotask(show);
  };
  hide();
})();

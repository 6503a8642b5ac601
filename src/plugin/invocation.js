// What a process of OpenCode was started for, by its arguments alone: before any socket, file or timer.

/** Options without a value: the word after them is not theirs. Any other takes the next word that has no dash. */
const SWITCHES = new Set([
  "help", "h", "version", "v", "print-logs", "pure", "mdns", "continue", "c", "fork", "auto", "mini", "share",
  "thinking", "interactive", "i", "replay",
])

/** Commands that show no screen of the kind plugins run in. Any other first word names the project of one. */
const WITHOUT_A_SCREEN = new Set([
  "completion", "mcp", "debug", "providers", "auth", "agent", "upgrade", "uninstall", "models", "stats", "export",
  "import", "github", "pr", "session", "plugin", "plug", "db", "serve", "web", "acp", "run",
])

/** `"tui"`, `"attach"`, or `null` for whatever is none of our business. `args` are those after the program. */
export function decide(args) {
  const word = firstWord(args)
  if (word === "attach") return "attach"
  return WITHOUT_A_SCREEN.has(word) ? null : "tui"
}

/** Commands with a server of their own and no screen. */
const SERVERS = new Set(["run", "serve", "web", "acp"])

/** `"run"`, `"serve"`, `"web"`, `"acp"`, or `null` for whatever has no server of that kind. */
export function withoutScreen(args) {
  const word = firstWord(args)
  if (!SERVERS.has(word)) return null
  // Then the turn runs elsewhere.
  return word === "run" && args.some((arg) => /^--attach(=|$)/.test(arg)) ? null : word
}

function firstWord(args) {
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at]
    if (arg === "--") return args[at + 1]
    if (!arg.startsWith("-") || arg === "-") return arg
    const name = arg.replace(/^--?/, "")
    const takesNext = !name.includes("=") && !SWITCHES.has(name) && !name.startsWith("no-")
    const next = args[at + 1]
    if (takesNext ? next !== undefined && !next.startsWith("-") : next === "true" || next === "false") at += 1
  }
  return undefined
}

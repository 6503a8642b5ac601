// Makes a process of OpenCode without a screen known to pointsman: above all `opencode run`, which opens no port.
//
// OpenCode loads this in the server of every process, once for each directory. Terminals are `tui.js`'s business.

import { Headless } from "./headless.js"
import { withoutScreen } from "./invocation.js"
import { join } from "./own-process.js"
import { Presence } from "./presence.js"
import { registrationFile } from "./registration-file.js"

const NO_SCREEN = { report: () => ({}), onChange() {} }

/** The plugin, for the pointsman that uses `stateDir`. */
export function runs(stateDir) {
  return async (input) => {
    try {
      // The server of a terminal runs beside its screen, on a thread without arguments.
      const kind = typeof Bun !== "undefined" && Bun.isMainThread ? withoutScreen(process.argv.slice(2)) : null
      if (kind === "run") return once(() => join(() => begin(input, kind, stateDir)))
      // One that listens is known until it ends, whatever comes and goes within.
      if (kind) join(() => begin(input, kind, stateDir))
    } catch {
      // Nobody asked this process for anything: there is nobody to tell.
    }
    return {}
  }
}

/** Known once there is a session, and until the end. */
function once(enter) {
  let leave
  return {
    event: async ({ event }) => {
      if (!leave && concernsSession(event)) leave = enter()
    },
    dispose: async () => leave?.(),
  }
}

function concernsSession({ properties }) {
  return typeof (properties?.sessionID ?? properties?.info?.sessionID) === "string"
}

function begin(input, kind, stateDir) {
  const server = new Headless(input, kind)
  const presence = new Presence({ read: () => registrationFile(stateDir), server, screen: NO_SCREEN })
  presence.run()
  return async () => {
    await presence.end()
    server.close()
  }
}

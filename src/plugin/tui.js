// Makes a terminal of OpenCode known to pointsman: also one that opens no port, and which session it shows.
//
// OpenCode loads this module in the process of every terminal, attached ones included, and nowhere else. It must
// not be felt there: it returns at once, writes nothing, throws nothing, keeps no process alive.

import { decide } from "./invocation.js"
import { join } from "./own-process.js"
import { Presence } from "./presence.js"
import { registrationFile } from "./registration-file.js"
import { Screen } from "./screen.js"
import { Server } from "./server.js"

function begin(api, stateDir, role) {
  const screen = new Screen(api)
  const server = new Server(api, role)
  const presence = new Presence({ read: () => registrationFile(stateDir), server, screen })
  presence.run()
  // The screen's watch needs a module of the host, which is there at once.
  screen.watch().catch(() => {})
  return async () => {
    screen.close()
    await presence.end()
    server.close()
  }
}

async function tui(api, options) {
  try {
    const role = decide(process.argv.slice(2))
    if (!role || typeof Bun === "undefined" || typeof options?.stateDir !== "string") return
    api.lifecycle.onDispose(join(() => begin(api, options.stateDir, role)))
  } catch {
    // Nobody asked this terminal for anything: there is nobody to tell.
  }
}

export default { id: "pointsman", tui }

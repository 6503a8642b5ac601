// One of a kind in this process, however often the plugin is loaded into it.

const OURS = Symbol.for("pointsman")

/** Calls `begin` if nobody has joined yet. Gives the way to leave; the last who leaves calls what `begin` gave. */
export function join(begin) {
  const shared = (globalThis[OURS] ??= { users: 0, end: begin() })
  shared.users += 1
  let joined = true
  return async () => {
    if (!joined) return
    joined = false
    shared.users -= 1
    if (shared.users > 0) return
    delete globalThis[OURS]
    await shared.end()
  }
}

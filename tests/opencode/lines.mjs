// A program that a test speaks to: one JSON object per line in, one per line out. The end of the input is its end.
import { createInterface } from 'node:readline'

/** Runs `commands[line.do](line)` for each line, one after another, and answers `{ok}` or `{error}`. */
export async function answerLines(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    const answer = await commands[request.do](request).then(
      (ok) => ({ ok: ok ?? null }),
      (error) => ({ error: String(error?.stack ?? error) }),
    )
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
}

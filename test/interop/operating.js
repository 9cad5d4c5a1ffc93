// SPDX-License-Identifier: MIT

/** What proxies are configured with is what lib/OPERATING.md shows. @module */

import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

const DOCUMENT = new URL('../../lib/OPERATING.md', import.meta.url)

/** The one block of the document in this language. */
export function documented(language) {
  const blocks = Array.from(readFileSync(DOCUMENT, 'utf8').matchAll(/^```(\w+)\n([^]*?)^```$/gm)).filter(([, name]) => name === language)
  if (blocks.length !== 1) throw new Error(`lib/OPERATING.md must have one block of ${language}: it has ${blocks.length}`)
  return blocks[0][2]
}

/** Puts what a test needs into a block, which must contain what it replaces. */
export function adapt(block, replacements) {
  for (const [documented, actual] of replacements) {
    if (!block.includes(documented)) throw new Error(`lib/OPERATING.md must have "${documented}" in its block:\n${block}`)
    block = block.replace(documented, actual)
  }
  return block
}

/** The block without the line that contains this. */
export function without(block, word) {
  const lines = block.split('\n')
  const kept = lines.filter((line) => !line.includes(word))
  if (kept.length !== lines.length - 1) throw new Error(`lib/OPERATING.md must have one line with "${word}" in its block:\n${block}`)
  return kept.join('\n')
}

/**
 * A free port outside of the range that systems take ports of clients from, so that nobody takes it while the
 * server that has it is started again.
 */
export async function fixedPort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    if (await canListen(port)) return port
  }
}

function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.on('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

// SPDX-License-Identifier: MIT

declare module 'stoppable' {
  import type { Server } from 'node:http'

  /** Adds a `stop` that cuts what is still under way after `graceMs`. */
  export default function stoppable(server: Server, graceMs?: number): Server & { stop(): void }
}

// SPDX-License-Identifier: MIT

/** What of the peers without types of their own is used here. */

declare module 'stoppable' {
  import type { Server } from 'node:http'
  export default function stoppable(server: Server, graceMs?: number): Server & { stop(callback?: (error?: Error) => void): void }
}

// SPDX-License-Identifier: MIT

/**
 * How many connections and bodies the process has descriptors for.
 *
 * Each connection and each open file takes a descriptor, and the system limits them per process.
 * When none is left, the system resets new connections and no file can be opened. So one client
 * with many connections could stop the server for all others.
 *
 * Design. The process keeps a reserve, and the rest is divided by five. Two fifths are for
 * connections. Two are for a file that each of these may have open. The last is for the second file
 * that a body may need, so there are half as many bodies as connections. A client whose body is one
 * too many still has a connection, and so gets its 503.
 *
 * @module
 */

/** What a process can serve at once. */
export interface Capacity {
  /** Bodies received at once. */
  readonly maxConcurrent: number
  /** Open connections; `undefined`: any number. */
  readonly maxConnections: number | undefined
}

/** For Node, the log, the locks, the sweep and the files that the store keeps open, with room to spare. */
const RESERVED = 128

/** More bodies than one process can receive at a useful speed. */
const MAX_BODIES = 10_000

/**
 * Returns how many descriptors this process may have open. `undefined`: there is no limit, or it
 * cannot be read, as on Windows. Node raises the limit as far as it may when it starts. The call
 * takes a few milliseconds and needs no access to files.
 */
export function readDescriptorLimit(): number | undefined {
  const report = process.report?.getReport() as { userLimits?: { open_files?: { soft?: unknown } } } | undefined
  const soft = report?.userLimits?.open_files?.soft
  return typeof soft === 'number' ? soft : undefined // it may be 'unlimited'
}

/**
 * Divides a number of descriptors. If `maxConcurrent` is given, that many bodies are accepted.
 * Connections then get half of what remains after one descriptor per body; each body has one.
 */
export function capacityOf(limit: number | undefined, maxConcurrent?: number): Capacity {
  const available = limit === undefined ? Infinity : Math.max(limit - RESERVED, 5)
  const bodies = maxConcurrent ?? Math.min(Math.floor(available / 5), MAX_BODIES)
  const connections = Math.max(Math.floor((available - bodies) / 2), bodies)
  return { maxConcurrent: bodies, maxConnections: connections === Infinity ? undefined : connections }
}

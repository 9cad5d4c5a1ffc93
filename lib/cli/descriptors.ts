// SPDX-License-Identifier: MIT

/**
 * How many connections and uploads the descriptors of the process are enough for.
 *
 * Each connection and each open file takes a descriptor, and the system allows a process only so many.
 * When none is left, the system resets new connections and no file can be opened, so one client with
 * many connections could stop the server for all others.
 *
 * Design. What is left after the process itself has its share is divided by five. Two fifths are for
 * connections, and two for a file that each of these may have open. The last one is for the second file
 * that a body may need, so there are half as many bodies as connections. A client that is over the
 * number of bodies still has a connection, and so gets its 503.
 *
 * @module
 */

/** What a process can serve at once. */
export interface Capacity {
  /** Bodies. */
  readonly maxConcurrent: number
  /** Connections; `undefined`: any number. */
  readonly maxConnections: number | undefined
}

/** What Node, the logs, the locks and the sweep take, with room to spare. */
const RESERVED = 64

/** More than one process can receive at a useful speed. */
const MAX_BODIES = 10_000

/**
 * The most descriptors that this process may have open; `undefined` where there is no limit, or none
 * that can be read, as on Windows. Node has raised it as far as it may when it started. Takes a few
 * milliseconds, and needs no access to files.
 */
export function readDescriptorLimit(): number | undefined {
  const report = process.report?.getReport() as { userLimits?: { open_files?: { soft?: unknown } } } | undefined
  const soft = report?.userLimits?.open_files?.soft
  return typeof soft === 'number' ? soft : undefined // it may be 'unlimited'
}

/**
 * Divides a number of descriptors. With `maxConcurrent` that many bodies are taken, and connections get
 * half of what one descriptor for each body leaves; but each body has a connection.
 */
export function capacityOf(limit: number | undefined, maxConcurrent?: number): Capacity {
  const available = limit === undefined ? Infinity : Math.max(limit - RESERVED, 5)
  const bodies = maxConcurrent ?? Math.min(Math.floor(available / 5), MAX_BODIES)
  const connections = Math.max(Math.floor((available - bodies) / 2), bodies)
  return { maxConcurrent: bodies, maxConnections: connections === Infinity ? undefined : connections }
}

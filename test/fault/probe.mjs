// SPDX-License-Identifier: MIT

/**
 * Loaded into a process that is attacked (`node --import`): says what it holds when it is asked over the
 * channel to its parent, and reports what must never happen. It keeps nothing alive.
 */

import { readdirSync, readlinkSync } from 'node:fs'
import { getActiveResourcesInfo } from 'node:process'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const alarms = []
process.on('uncaughtExceptionMonitor', (error, origin) => process.send?.({ alarm: `${origin}: ${error?.stack ?? error}` }))
process.on('warning', (warning) => alarms.push(`warning: ${warning.stack}`))

const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()

process.on('message', (question) => {
  if (question === 'inspect') {
    globalThis.gc?.()
    process.send({ inspection: inspect() })
    delay.reset()
  }
})
process.channel.unref()

function inspect() {
  const resources = {}
  for (const kind of getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
  const { rss, heapUsed, external } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  return {
    alarms,
    descriptors: descriptors(),
    resources,
    signalListeners: process.listenerCount('SIGTERM') + process.listenerCount('SIGINT'),
    rss, heapUsed, external,
    abilities: abilities(),
    cpuMs: (user + system) / 1000,
    eventLoopDelayMs: { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 },
  }
}

/** Without the permission model, a process may do everything. */
function abilities() {
  const may = (what) => process.permission?.has(what) ?? true
  return {
    readAnything: may('fs.read'), writeAnything: may('fs.write'), startProcesses: may('child'),
    makeCode: succeeds(() => new Function('return 1')()),
    changePrototypes: '__proto__' in {} || succeeds(() => { Object.prototype.polluted = true }),
  }
}

function succeeds(attempt) {
  try {
    attempt()
    return true
  } catch {
    return false
  }
}

/** What each open descriptor points to; those of the runtime itself come and go with nothing of ours. */
function descriptors() {
  const targets = []
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      targets.push(readlinkSync(`/proc/self/fd/${name}`))
    } catch {} // the one that lists the folder
  }
  return targets
}

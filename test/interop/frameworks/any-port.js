// SPDX-License-Identifier: MIT

/**
 * Preloaded into a program of `lib/FRAMEWORKS.md`: has its server listen on a free port in place of the one written down, and
 * tells the parent which, and on a message what it allows to take time.
 *
 * @module
 */

import { Server } from 'node:net'

const { listen } = Server.prototype
Server.prototype.listen = function (...args) {
  this.once('listening', () => process.send(this.address().port))
  process.on('message', () => process.send({ requestTimeout: this.requestTimeout, headersTimeout: this.headersTimeout }))
  process.channel.unref() // the program ends as if nobody listened to it
  return Reflect.apply(listen, this, [{ port: 0, host: '127.0.0.1' }, ...args.filter((arg) => typeof arg === 'function')])
}

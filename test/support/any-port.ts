// SPDX-License-Identifier: MIT

/**
 * Preloaded into an example: has its server listen on a free port in place of the one written down, and
 * tells the test which.
 *
 * @module
 */

import { Server, type AddressInfo } from 'node:net'

const { listen } = Server.prototype
Server.prototype.listen = function (this: Server, ...args: unknown[]): Server {
  if (typeof args[0] !== 'number') return Reflect.apply(listen, this, args) // a Unix socket stays where it is
  this.once('listening', () => process.send?.((this.address() as AddressInfo).port))
  return Reflect.apply(listen, this, [0, '127.0.0.1'])
} as typeof listen
process.channel?.unref() // an example ends as it would without a test

// SPDX-License-Identifier: MIT

/** Uploads beside the routes of Hono 4 on Node. @module */

import { serve } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'

/**
 * Hono's adapter has the request and the response of Node in `c.env`. With its own `Response` in place of
 * the global one, it would answer HEAD again after `RESPONSE_ALREADY_SENT`, and close the connection.
 */
export function recipe(tus) {
  const app = new Hono()
  app.all('/api/files/*', async (c) => {
    await tus(c.env.incoming, c.env.outgoing)
    return RESPONSE_ALREADY_SENT
  })
  app.post('/api/notes', async (c) => c.json(await c.req.json()))

  const server = serve({ fetch: app.fetch, overrideGlobalObjects: false, port: 0, hostname: '127.0.0.1' })
  server.requestTimeout = 0
  return server
}

/** A middleware comes first, and reads every body. */
export function mistake(tus) {
  const app = new Hono()
  app.use(async (c, next) => {
    await c.req.arrayBuffer()
    await next()
  })
  app.all('/api/files/*', async (c) => {
    await tus(c.env.incoming, c.env.outgoing)
    return RESPONSE_ALREADY_SENT
  })
  return serve({ fetch: app.fetch, overrideGlobalObjects: false, port: 0, hostname: '127.0.0.1' })
}

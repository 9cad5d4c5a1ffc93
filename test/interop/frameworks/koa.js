// SPDX-License-Identifier: MIT

/** Uploads beside the routes of Koa 3. @module */

import { bodyParser } from '@koa/bodyparser'
import Koa from 'koa'

/** `respond = false` is Koa's word for an answer that somebody else gives. */
export function recipe(tus) {
  const app = new Koa()
  app.use((ctx, next) => {
    if (!ctx.path.startsWith('/api/files/')) return next()
    ctx.respond = false
    return tus(ctx.req, ctx.res)
  })
  app.use(bodyParser())
  app.use((ctx) => {
    if (ctx.method === 'POST' && ctx.path === '/api/notes') ctx.body = ctx.request.body
  })

  const server = app.listen(0, '127.0.0.1')
  server.requestTimeout = 0
  return server
}

/** The parser comes first, and was told to take uploads for text. */
export function mistake(tus) {
  const app = new Koa()
  app.use(bodyParser({ enableTypes: ['text'], extendTypes: { text: ['application/*'] } }))
  app.use((ctx) => {
    ctx.respond = false
    return tus(ctx.req, ctx.res)
  })
  return app.listen(0, '127.0.0.1')
}

// SPDX-License-Identifier: MIT

/**
 * How not to mount the handler: behind something that reads every body. How to is in `lib/FRAMEWORKS.md`.
 *
 * @module
 */

import { serve } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { bodyParser } from '@koa/bodyparser'
import { NestFactory } from '@nestjs/core'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { AppModule } from './app.module.js'

const HOST = '127.0.0.1'

/** By framework, a function that starts a server with the handler below `/api/files/`. */
export const mistakes = {
  Express(uploads) {
    const app = express()
    app.use(express.raw({ type: '*/*' }))
    app.use('/api/files', uploads)
    return app.listen(0, HOST)
  },

  async Fastify(uploads) {
    const app = fastify()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, async (request, body) => body)
    app.all('/api/files/*', (request, reply) => {
      reply.hijack()
      return uploads(request.raw, reply.raw)
    })
    await app.listen({ port: 0, host: HOST })
    return app.server
  },

  /** The parser was told to take uploads for text. */
  Koa(uploads) {
    const app = new Koa()
    app.use(bodyParser({ enableTypes: ['text'], extendTypes: { text: ['application/*'] } }))
    app.use((ctx) => {
      ctx.respond = false
      return uploads(ctx.req, ctx.res)
    })
    return app.listen(0, HOST)
  },

  async NestJS(uploads) {
    const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
    app.useBodyParser('raw', { type: '*/*' })
    app.use('/api/files', uploads)
    return app.listen(0, HOST)
  },

  Hono(uploads) {
    const app = new Hono()
    app.use(async (c, next) => {
      await c.req.arrayBuffer()
      await next()
    })
    app.all('/api/files/*', async (c) => {
      await uploads(c.env.incoming, c.env.outgoing)
      return RESPONSE_ALREADY_SENT
    })
    return serve({ fetch: app.fetch, overrideGlobalObjects: false, port: 0, hostname: HOST })
  },
}

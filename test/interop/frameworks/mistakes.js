// SPDX-License-Identifier: MIT

/**
 * How not to mount the handler: behind something that reads every body. How to is in `lib/FRAMEWORKS.md`.
 *
 * @module
 */

import { createServer } from 'node:http'
import { serve } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { bodyParser } from '@koa/bodyparser'
import { NestFactory } from '@nestjs/core'
import express from 'express'
import express4 from 'express-4'
import fastify from 'fastify'
import { fromNodeHandler, H3 } from 'h3'
import { createApp, eventHandler, fromNodeMiddleware, readRawBody, toNodeListener } from 'h3-1'
import { toNodeHandler } from 'h3/node'
import { Hono } from 'hono'
import Koa from 'koa'
import next from 'next'
import { AppModule } from './app.module.js'

const HOST = '127.0.0.1'

/** By framework, a function that starts a server with the handler below `/api/files/`. Next needs a folder that it has built. */
export const mistakes = {
  'Express 5': (uploads) => startExpress(express, uploads),
  'Express 4': (uploads) => startExpress(express4, uploads),

  async 'Fastify 5'(uploads) {
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
  'Koa 3'(uploads) {
    const app = new Koa()
    app.use(bodyParser({ enableTypes: ['text'], extendTypes: { text: ['application/*'] } }))
    app.use((ctx) => {
      ctx.respond = false
      return uploads(ctx.req, ctx.res)
    })
    return app.listen(0, HOST)
  },

  async 'NestJS 12 on Express'(uploads) {
    const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
    app.useBodyParser('raw', { type: '*/*' })
    app.use('/api/files', uploads)
    return app.listen(0, HOST)
  },

  'Hono 4 on Node'(uploads) {
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

  'h3 2'(uploads) {
    const app = new H3()
    app.use(async (event) => void (await event.req.arrayBuffer()))
    app.all('/api/files/**', fromNodeHandler(uploads))
    return createServer(toNodeHandler(app)).listen(0, HOST)
  },

  'h3 1'(uploads) {
    const app = createApp()
    app.use(eventHandler(async (event) => void (await readRawBody(event))))
    app.use('/api/files', fromNodeMiddleware(uploads))
    return createServer(toNodeListener(app)).listen(0, HOST)
  },

  /** A page without `bodyParser: false`. */
  async 'Next.js 16 in `pages/api`'(uploads, dir) {
    globalThis.uploads = uploads
    const app = next({ dir })
    await app.prepare()
    const handle = app.getRequestHandler()
    const toMistake = (req) => Object.assign(req, { originalUrl: req.url, url: req.url.replace('files', 'mistake') })
    return createServer((req, res) => handle(toMistake(req), res)).listen(0, HOST)
  },
}

function startExpress(version, uploads) {
  const app = version()
  app.use(version.raw({ type: '*/*' }))
  app.use('/api/files', uploads)
  return app.listen(0, HOST)
}

// SPDX-License-Identifier: MIT

/** Uploads beside the routes of Fastify 5. @module */

import fastify from 'fastify'

/** A scope of its own, in which Fastify reads no body. Its `requestTimeout` is 0 as it is. */
export async function recipe(tus) {
  const app = fastify()
  app.register(async (uploads) => {
    uploads.removeAllContentTypeParsers()
    uploads.addContentTypeParser('*', (request, payload, done) => done(null))
    uploads.all('/api/files/*', (request, reply) => {
      reply.hijack()
      return tus(request.raw, reply.raw)
    })
  })
  app.post('/api/notes', async (request) => request.body)

  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

/** The parser for all other types takes the body. */
export async function mistake(tus) {
  const app = fastify()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (request, body) => body)
  app.all('/api/files/*', (request, reply) => {
    reply.hijack()
    return tus(request.raw, reply.raw)
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

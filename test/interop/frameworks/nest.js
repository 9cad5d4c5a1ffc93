// SPDX-License-Identifier: MIT

/** Uploads beside the controllers of NestJS 12 on Express. Decorators are called, as plain JavaScript has none. @module */

import 'reflect-metadata'
import { Body, Controller, Module, Post } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'

/** Middleware added here runs before Nest's own parsers. */
export async function recipe(tus) {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
  app.use('/api/files', tus)

  const server = await app.listen(0, '127.0.0.1')
  server.requestTimeout = 0
  return server
}

/** The parser comes first, and takes every body. */
export async function mistake(tus) {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
  app.useBodyParser('raw', { type: '*/*' })
  app.use('/api/files', tus)
  return app.listen(0, '127.0.0.1')
}

class NotesController {
  create(note) {
    return note
  }
}
Post()(NotesController.prototype, 'create', Object.getOwnPropertyDescriptor(NotesController.prototype, 'create'))
Body()(NotesController.prototype, 'create', 0)
Controller('api/notes')(NotesController)

class AppModule {}
Module({ controllers: [NotesController] })(AppModule)

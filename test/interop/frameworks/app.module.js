// SPDX-License-Identifier: MIT

/** A module of NestJS with one controller. Decorators are called, as plain JavaScript has none. @module */

import 'reflect-metadata'
import { Body, Controller, Module, Post } from '@nestjs/common'

export class NotesController {
  create(note) {
    return note
  }
}
Post()(NotesController.prototype, 'create', Object.getOwnPropertyDescriptor(NotesController.prototype, 'create'))
Body()(NotesController.prototype, 'create', 0)
Controller('api/notes')(NotesController)

export class AppModule {}
Module({ controllers: [NotesController] })(AppModule)

"""Imports a package that is only installed editable; besom builds its wheel and sends it along."""

import wiggle

import besom

run = besom.init()
run.log({"loss": wiggle.wiggle(run.config.x)})

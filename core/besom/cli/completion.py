"""`besom completion`: the script that completes besom's words in a shell."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes besom's commands and options in SHELL.

    \b
    bash:  echo 'eval "$(besom completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(besom completion zsh)"' >> ~/.zshrc
    fish:  besom completion fish > ~/.config/fish/completions/besom.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "the choice lists only what click has"
    click.echo(found(ctx.find_root().command, {}, "besom", "_BESOM_COMPLETE").source())

"""How long the first host may take for what follows the training; the others, whose part is done, wait as long."""

from typing import Final

CLOSING_SECONDS: Final = 3600.0

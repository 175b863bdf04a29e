"""The plots, by name: each tells a whole story into a tale."""

from collections.abc import Callable

from stories.plots import finding, friends, growing, helping, making, weather
from stories.world import Tale

PLOTS: dict[str, Callable[[Tale], None]] = {
    "lost toy": finding.lost_toy,
    "lost animal": finding.stray,
    "lost at the market": finding.market,
    "quarrel": friends.quarrel,
    "sharing food": friends.sharing,
    "race": friends.race,
    "borrowed thing": friends.borrowed,
    "new friend": friends.new_friend,
    "fear": growing.fear,
    "skill": growing.skill,
    "sleepless night": growing.sleepless,
    "neighbor": helping.neighbor,
    "hurt bird": helping.bird,
    "found thing": helping.found,
    "present": making.present,
    "baking": making.baking,
    "building": making.building,
    "seed": making.seed,
    "birthday": making.birthday,
    "rainy day": weather.rainy_day,
    "storm": weather.storm,
    "snow": weather.snow,
}

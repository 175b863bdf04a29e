"""Openings and closings that many plots share."""

from stories.template import Choice, beat, starting_with
from stories.world import Tale

OPENINGS = beat("""
    once upon a time there was {h}.
    once upon a time there was {h} who lived {home}.
    once upon a time, {home}, there lived {h}.
    there was once {h} who lived {home}.
    {home} lived {h}.
    {h.name} was a {h.look} who lived {home}.
    a {h.look} lived {home}, and [{h.his} name was|everyone called {h.him}] {h.name}.
    a long time ago, {h} lived {home}.
    this is a story about {h} who lived {home}.
    not so far away, {home}, lived {h}.
    {h.name} was a {h.look} with [a big heart|a happy laugh|bright eyes|a warm smile|many dreams].
    {home} there was {h}.
    everybody liked {h.name}, a {h.look} with [a big heart|a happy laugh|bright eyes|a warm smile].
    long before you were born, {home}, there lived {h}.
    {home} you could find {h}.
    have you heard about {h.name}? {h.He} was a {h.look} who lived {home}.
    {h.name} lived {home}. {h.He} was a {h.look} who [laughed a lot|loved a good joke|liked to help|knew many songs].
    if you had looked for {h.name}, a {h.look}, you would have found {h.him} {home}.
""")

FAMILY_OPENINGS = beat("""
    once upon a time, {h} lived {home} with {p}.
    {h} lived with {p} {home}.
    there was once {h} who lived with {p} {home}.
    {home} lived {h} and {p}.
    {h.name} was a {h.look}. {h.He} lived {home} with {p}.
""")

MANNERS = beat("""
    {h} [liked|loved] to [sing|dance|laugh|draw|climb|hum little songs|tell funny stories|look at the clouds].
    {h} [liked|loved] [long walks|old songs|funny stories|warm bread|bright colors|starry nights|the smell of rain].
    {h} [had many questions|asked a lot of questions|wanted to know everything] about the world.
    {h} was [small|little], but {h.he} [had big ideas|never gave up easily|had a lot of dreams].
    {h} woke up every morning with a [song|smile|new idea|happy thought].
    every day {h} [found|looked for] something new to [do|see|learn].
    [nothing|no one] could make {h.him} [stay sad for long|sit still for long|stop asking questions].
    {h.name}'s pockets were always full of [stones|nuts|string|feathers], and {h.his} head was full of ideas.
    when {h} laughed, everyone had to laugh too.
    {h} was good at [whistling|climbing|hiding|waiting], and not so good at [sitting still|being quiet|getting up].
""")

COZY = beat("""
    [:night], {h} [fell asleep|went to sleep|closed {h.his} eyes] with a smile.
    [:night], {h} [told {p} all about it|thought about the day] and [fell asleep|went to sleep] [smiling|happy].
    it had been a [long|big|wonderful|lovely] day, and {h} [slept well|had sweet dreams|slept until morning] that night.
    {h} [curled up in bed|pulled up the soft blanket|lay in the warm bed] and thought, "What a [good|lovely|fine] day!"
    the moon [shone|looked in] at the window, and {h} was [warm|safe and warm|happy] and fast asleep.
    "I will [always remember|never forget] this day," said {h} [with a yawn|with a sleepy smile|and yawned].
    {p} gave {h} a [kiss|good night kiss|warm hug], and soon the whole house was [quiet|asleep].
    [and so|and that is how] the day came to a [happy|quiet|cozy] end, with [a song|a story|a hug] and a good night
        kiss.
    before {h} went to sleep, {h.he} said thank you to the day.
    the stars came out one by one. {h} wanted to count them, but {h.he} fell asleep at [seven|nine|ten].
    {p} put out the light. "Good night, {h.name}," said {p}. But {h} was already dreaming.
    "Can tomorrow be like today?" asked {h}. "It can be even better," said {p}, and kissed {h.him} good night.
    that evening the soup tasted better than ever, and {h} told the whole story twice.
""")

FRIENDS = beat("""
    from that day on, {h} and {f} were [the best of friends|best friends|always together].
    {h} and {f} walked home [side by side|together], [talking|laughing|singing] all the way.
    "You are my best friend," said {h}. "And you are mine," said {f}.
    [everything|every game] is [better|more fun] with a friend, and {h} [knew|was sure of] it now.
    that day {h} and {f} learned that [good friends|true friends|friends] [help each other|take care of each other].
    the sun went down, and two [happy|tired|very happy] friends [waved good night|said good night|went home].
    after that, you could see {h} and {f} [playing|laughing] together [every day|almost every day].
    and if you [listen|walk by] on a quiet evening, you can still hear {h} and {f} [laughing|singing] together.
    it was the start of [many happy days|a long and happy time] for {h} and {f}.
    {h} went to bed [happy|with a smile], because [a good friend is a treasure|{h.he} had such a good friend].
    {h} has had many good days since then, and {f} was there on most of them.
    "See you tomorrow!" called {f}. "See you tomorrow!" called {h}. And tomorrow could not come soon enough.
    two are warmer than one, two are braver than one, and {h} and {f} were two.
    that evening {h} told {p}, "I have the best friend in the world." And {p} said, "So does {f}."
""")

BRAVE = beat("""
    after that, {h} was [not afraid anymore|a little braver every day|never so afraid again].
    {h} learned that [being brave|to be brave] [means trying|is to try] even when you are [afraid|a little scared].
    "I was scared, but I did it," {h} [told {p}|said to {p}] [:night]. [{p.He} was very proud|{p.He} kissed {h.him}].
    [:night], {h} felt [taller|bigger|stronger] than ever before.
    {p} was proud of {h}, and {h} was proud of {h.himself} too.
    even small [hearts|people|ones] can be [very brave|full of courage], and {h} was one of them.
    {h} [smiled|laughed] and said, "What can I try next?"
    now {h} knew a secret: [fear gets smaller when you look at it|a fear is smaller when you share it].
    {h} was still small, but {h.his} courage was [big|very big|as big as the sky].
    that evening {h} drew a picture of it. In the picture {h.he} was very big, and the fear was very small.
    "You can be afraid and brave at the same time," said {p}. Now {h} knew that it was true.
    and the next time? The next time {h} went first.
""")

TRYING = beat("""
    {h} had learned to [keep trying|try again and again|never give up too soon].
    "[It was hard, but I did not stop|I fell, but I got up|I tried and tried]," {h} said [proudly|with a big smile].
    [after that|from that day on], when something was [hard|difficult], {h} [took a deep breath and tried again|just
        tried again].
    [little by little|step by step|bit by bit], [big things can be done|hard things become easy], and {h}
        [knew|learned] it that day.
    {h} was [tired|very tired] that evening, but {h.his} heart was [light|happy|full of joy].
    [:night], {h} dreamed of [all the things {h.he} could learn|trying something new|the next big thing].
    [not every try|not everything] works the first time, but {h} [did not mind anymore|knew what to do: try again].
    {p} was [so|very] proud, and {h} could not stop smiling [all evening|all day|until bedtime].
    and {h} [was|felt] very proud, because {h.he} had not given up.
    {h} slept like a stone that night, with a smile on {h.his} face.
    whenever somebody said, "I cannot do it," {h} answered, "You cannot do it yet."
""")

SHARING = beat("""
    {h} learned that [things|good things] are [best|sweeter|nicer] when you share them.
    [a small gift|a little kindness] can come back [as a big one|much bigger], and {h} never forgot it.
    {h} [went home|walked home] with [a warm heart|a song in {h.his} heart|a happy heart].
    from then on, {h} always [shared what {h.he} had|saved some for a friend].
    "There is always enough [to share|for two|for one more]," said {h}, and [:smiled].
    and both of them were [:happy], which is what sharing [does|can do].
    [:night], {h} thought, "Sharing makes [one joy into two|a small thing big]."
    what a good day it was, and all because {h} had shared!
    half of something can be more than all of it. {h} did not know how, but it was so.
    that night {h} told {p} about it. "You gave one thing away," said {p}, "and what did you get?" "A lot," said {h}.
    and if you ever meet {h}, {h.he} will share with you, too.
""")

KIND = beat("""
    {h} felt [warm|happy|good] inside, because [helping|being kind] feels [good|so good|like sunshine].
    [helping|being kind] had made the day [bright|better|special], and {h} [hummed|sang|skipped] all the way home.
    from that day on, {h} [always looked for ways to help|was always ready to help].
    "[Kind hearts|Kind hands|Kind words] [make the world bright|make good days]," {p} [told {h}|said] [:night].
    [:night], {h} fell asleep [happy|with a smile], because {h.he} had helped [someone|somebody].
    {p} [smiled|was very proud] and said, "You have a [kind|good|big] heart, {h.name}."
    a little help can [do a lot|go a long way|make a big change], and {h} [knew it|was glad of it].
    and that is how one [small|kind] [deed|act] made [everyone|a whole day] happy.
    {h} skipped home [in the evening sun|under the pink sky] and could not stop smiling.
    "How was your day?" asked {p}. "Good," said {h}. "I was [useful|a helper] today."
    nobody gave {h} a medal. But {h.he} felt as if {h.he} had one, right over {h.his} heart.
    {h} had not done it to be thanked, and that made it even better.
""")

HONEST = beat("""
    {h} felt as light as a feather, for [the truth|telling the truth] had [made everything better|set things right].
    {h} learned that [it is best to tell the truth|the truth is always best], even when it is hard.
    "It is [brave|good] to tell the truth," said {p}, and {h} [nodded|smiled].
    from then on, {h} [always told|never forgot to tell] the truth, even about [small|little] things.
    [:night], {h} slept [well|very well], with no secret to [keep {h.him} awake|hide].
    a [mistake|broken thing] can be mended, and so can a [sad|heavy] heart, when you [tell the truth|are honest].
    the [heavy|bad] feeling was gone, and {h} [laughed|smiled|sang] again.
    that evening {h.name}'s heart was light, and {h.his} sleep was deep.
    {h} looked into the mirror and liked what {h.he} saw: somebody you could trust.
""")

PATIENT = beat("""
    {h} had learned that [good things take time|the best things need time].
    "[Good things|Small things] [take time|need love and time]," said {p}, and {h} [nodded|knew it was true].
    {h} was glad that {h.he} had [waited|not given up|been patient].
    and the next spring, {h} [planted a whole row|did it all again], and {h.he} did not mind waiting at all.
    [waiting was hard|it had been a long wait], but it was [worth it|worth every day].
    [every evening|every day] {h} sat [beside it|next to it] [and told it stories|and smiled|and sang to it].
    "What shall we plant next?" asked {h}, and {p} laughed.
    whenever {h} wanted something right now, {h.he} thought of that tiny seed.
    "I did not do much," said {h}. "I only waited and cared." "That is a lot," said {p}.
    {h} looked at it and thought, "You were so small once. So was I."
""")


def open_story(tale: Tale, hooks: Choice) -> None:
    """Begin the story: mostly with who the hero is, sometimes at once with what happened."""
    chance = tale.chance
    if chance.maybe(0.65):
        with_family = "p" in tale.people and chance.maybe(0.35)
        tale.say(FAMILY_OPENINGS if with_family else OPENINGS)
        tale.people["h"].met = True
        tale.maybe(0.3, MANNERS)
        if chance.maybe(0.25):
            tale.paragraph()
    else:
        hooks = starting_with(hooks, "h")
    tale.say(hooks)


def close_story(tale: Tale, *endings: Choice) -> None:
    """End the story in the spirit of one of ``endings``."""
    if tale.chance.maybe(0.5):
        tale.paragraph()
    tale.say(tale.chance.pick(endings))

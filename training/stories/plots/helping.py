"""Neighbors who need help, a bird with a hurt wing, and a thing that belongs to somebody else."""

from typing import NamedTuple

from stories.common import KIND, close_story, open_story
from stories.template import beat
from stories.world import Tale

# Helping a neighbor

NEIGHBOR_HOOKS = beat("""
    [:day], {h} saw {n} in front of the house. {n.He} looked [tired|sad|worried].
    [:day], {h} walked by the house of {n}. "Oh dear, oh dear," {n} said.
    [:day], {h} met {n} at the gate. "Good morning!" said {h}. But {n} only sighed.
    [:day], {h} heard a loud sigh on the other side of the fence. It came from {n}.
    [:day], {h} brought {n} some [soup|bread] from {p}. {n} did not smile as on other days.
    [:day], {h} stopped by to say hello to {n}. But {n} only said, "Oh, it is you," and did not smile.
    [:day], {h} heard a bump and a groan. It was {n}, who was holding {n.his} back.
    every day {n} waved to {h}. But [:day] {n} did not wave.
""")
NEIGHBOR_WHY = beat("""
    "What is wrong?" asked {h}. "{need}" said {n}. "And my back hurts so much today."
    "Can I help you?" asked {h}. "{need}" said {n}. "I am too old to do it alone."
    "Why are you sad?" {h} asked. {n} pointed with {n.his} stick. "{need}" {n.he} said.
    "{need}" said {n}, "and I do not know what to do." {h} [looked around|nodded slowly].
    {n} sat down on the steps. "{need}" {n.he} said, and shook {n.his} head.
    "You look so tired," said {h}. "{need}" said {n}, "and my old legs are slow."
    {h} leaned over the fence. "Is there something I can do?" {h.he} asked. "{need}" said {n}. "But that is too much
        for you."
    "I could cry," said {n}. "{need}" {n.he} added. {h} saw it, too.
""")
NEIGHBOR_OFFER = beat("""
    "I can do that!" said {h}. "You?" asked {n}. "You are so small." "But I am strong," said {h}.
    {h} rolled up {h.his} sleeves. "Sit down and rest," {h.he} said. "I will do it."
    {h} had wanted to play. But {h.he} could play tomorrow, too. "I will help you," {h.he} said.
    "Two can do more than one," said {h}, and {h.he} began right away.
    {h} did not think twice. "Leave it to me!" {h.he} said.
    "That sounds like fun!" said {h}. {n} had never seen it that way.
    {h} took off {h.his} coat. "Where do I start?" {h.he} asked.
    "I have two {h.hand}s and nothing to do," said {h}, and that was that.
""")
NEIGHBOR_WORK = beat("""
    {h} {work}. It was hard work, and {h.his} face turned red.
    so {h} {work}, and {n} told {h.him} funny stories from long ago.
    {h} {work}. It took much longer than {h.he} had thought.
    with a song on {h.his} lips, {h} {work}.
    up and down, back and forth: {h} {work}, and {h.he} did not stop to rest.
    so {h} {work}. Now and then {n} called, "Not so fast!"
    {h} {work}, while {n} sat on the steps and sang an old song.
    all afternoon {h} {work}. {h.His} arms were heavy, but {h.he} kept on.
""")
NEIGHBOR_TROUBLE = beat("""
    but {snag}. {h} puffed. It was too much for one.
    then {snag}. "Oh no," said {h}. "Now what?"
    halfway through, {snag}. {h} sat down for a moment and thought.
    it all went well until {snag}. {h} did not want to give up.
    but nothing is ever that easy: {snag}.
    then came the hard part, because {snag}. {h} wiped {h.his} face.
    {h} had done almost half of it when {snag}. "Now I need some help," {h.he} thought.
""")
NEIGHBOR_FRIEND = beat("""
    just then {f} came down the road. "Wait, I will help!" {f.he} called, and with two it was easy.
    {h} ran to get {f}. "[Come quick|I need you]!" {h.he} said. Together they got it done.
    [:idea]. {h.He} called {f}, and the two of them made a game of it. Who was faster?
    {h} saw {f} on the road and waved. {f} came to help at once, and then they {worked} together.
    {f} was on the way to the pond, but {f.he} stopped. "Two are faster than one," {f.he} said, and in no time it was
        done.
    "Who wants to help?" shouted {h}. {f} did! They laughed so much that it did not feel like work.
    {h} whistled loudly. That was the sign for {f}, who came running. Together they finished the job.
""")
NEIGHBOR_DONE = beat("""
    when the sun went down, everything was done. {n} could not believe {n.his} eyes.
    by noon it was done. "[It looks better than ever|How quick you are]!" said {n}.
    at last it was finished. {h} was dirty from top to toe, and very proud.
    "All done!" [:called] {h}. {n} came out and clapped {n.his} {n.hand}s.
    it took until dinner, but then there was nothing left to do.
    {n} walked all around and looked at everything. "I do not know what to say," {n.he} said.
    when the evening came, there was nothing left to do but rest.
    "Is that my house?" asked {n}. "It looks like new!" {h} was tired and proud.
""")
NEIGHBOR_THANKS = beat("""
    {n} went inside and came back with {treat}. "This is for you, dear helper," {n.he} said.
    "How can I thank you?" asked {n}. "Tell me one more story," said {h}. And {n} did, while they shared {treat}.
    {n} gave {h} {treat}, but the best thing was {n.his} smile.
    "You are a good neighbor," said {n}, and they sat on the steps with {treat}.
    as a thank you, {n} set out {treat}, and {h} could eat as much as {h.he} liked.
    "Come in, come in," said {n}. On the table stood {treat}, just for {h}.
    {n} put {treat} on the table and lit a candle. It was like a little party.
    there was {treat} for the hungry helper, and there was a long, long hug.
""")


class Need(NamedTuple):
    """What a neighbor needs: the complaint, the work done, and what gets in the way."""

    need: str
    work: str
    worked: str
    snag: str


NEEDS = (
    Need(
        "The leaves have covered my whole garden,",
        "raked the leaves into big piles",
        "raked",
        "the wind came and blew the leaves all over the place",
    ),
    Need(
        "My apples are ripe, and nobody picks them,",
        "picked apples until the baskets were full",
        "picked apples",
        "the best apples hung too high up in the tree",
    ),
    Need(
        "My wood must go into the shed before it rains,",
        "carried the wood, piece by piece",
        "carried wood",
        "the first drops of rain began to fall",
    ),
    Need(
        "My fence has lost its color,",
        "painted the fence, one board after the other",
        "painted",
        "the paint can tipped over, and half of the paint was gone",
    ),
    Need(
        "The weeds are taller than my beans,",
        "pulled out the weeds, row by row",
        "pulled weeds",
        "there was one weed that would not come out",
    ),
    Need(
        "My hens ran away through a hole in the fence,",
        "ran after the hens and caught them, one by one",
        "ran",
        "the fat white hen flew up on the roof",
    ),
    Need(
        "Snow is all over my path,",
        "pushed the snow away from the path",
        "pushed snow",
        "a big pile of snow slid down from the roof",
    ),
    Need(
        "My well is far away, and I need water,",
        "carried water, one bucket after the other",
        "carried water",
        "the handle of the bucket broke",
    ),
)
TREATS = (
    "warm plum cake",
    "a big bowl of cherries",
    "hot tea and cookies",
    "fresh bread with honey",
    "a jar of berry jam",
    "a plate of pancakes",
    "a bowl of nuts",
    "cold juice and sweet rolls",
)


def neighbor(tale: Tale) -> None:
    """A neighbor has too much work; the hero does it, with a friend when it gets hard."""
    tale.cast_hero()
    tale.cast_neighbor()
    tale.cast_elder()
    tale.cast_friend()
    chosen = tale.chance.pick(NEEDS)
    for role, text in zip(("need", "work", "worked", "snag"), chosen, strict=True):
        tale.put(role, text)
    tale.put("treat", tale.chance.pick(TREATS))
    open_story(tale, NEIGHBOR_HOOKS)
    tale.say(NEIGHBOR_WHY)
    if tale.chance.maybe(0.55):
        tale.paragraph()
        tale.say(NEIGHBOR_WORK, NEIGHBOR_TROUBLE, NEIGHBOR_FRIEND)
    else:
        tale.say(NEIGHBOR_OFFER)
        tale.paragraph()
        tale.say(NEIGHBOR_WORK, NEIGHBOR_DONE)
    tale.say(NEIGHBOR_THANKS)
    if tale.chance.maybe(0.6):
        close_story(tale, KIND)


# A bird with a hurt wing

BIRD_HOOKS = beat("""
    [:day], {h} found a little {bird} {where}. It flapped one wing, but it could not fly.
    [:day], {h} heard a soft "peep" {where}. There lay a {bird} with a hurt wing.
    after a windy night, {h} saw a {bird} {where}. It had fallen and hurt its wing.
    [:day], {h} almost stepped on something small {where}. It was a {bird}, and it did not fly away.
    [:day], {h} was on the way home when {h.he} saw a {bird} {where}. One of its wings hung down.
    [:day], {h} thought that there was a leaf {where}. But the leaf had two black eyes. It was a {bird} that could not
        fly.
    [:day], {h} heard a small cry from somewhere {where}. {h.He} stopped and looked. A {bird} lay there with a hurt
        wing.
    [:sunny], {h} was playing ball when {h.he} found a {bird} {where}. It tried to fly, but one wing did not move.
""")
BIRD_CARE = beat("""
    "Do not be afraid," {h} whispered. {h.He} picked it up very gently. Its heart beat so fast!
    {h} made a nest out of {h.his} hat and put the {bird} inside. "I will take care of you," {h.he} said.
    {h} stood still and thought. Then {h.he} [wrapped|put] the bird in {h.his} scarf and carried it home, step by step.
    at first the bird tried to hop away. {h} sat down and waited until it was calm. Then {h.he} carried it home.
    "You poor thing," said {h}. {h.He} held it in both {h.hand}s, as carefully as an egg.
    "I will not hurt you," said {h}. The bird looked at {h.him}, and it seemed to believe it.
    {h} took off {h.his} hat, put some grass in it and laid the bird on the grass. Then {h.he} walked home like a cat,
        so softly.
    the bird shook all over. {h} warmed it with {h.his} breath until it was still.
""")
BIRD_HELP = beat("""
    {p} looked at the wing. "It is not broken," {p.he} said. "It needs rest." {p.He} tied it up with a thin
        [ribbon|strip of cloth].
    "Can it be mended?" {h} asked {p}. "I think so," said {p}. "But we must be patient." They found a box and some hay.
    {n} knew a lot about birds. "Give it water and seeds," {n.he} told {h}, "and keep it warm and quiet."
    {p} helped {h} to tie the wing. Then they put the bird into a box with soft [moss|wool].
    "What does it eat?" asked {h}. "[Worms|Seeds and berries]," said {p}. So {h} went out to find some.
    {p} put on {p.his} glasses and looked at the wing. "It will heal," {p.he} said, "but wings need time." They made a
        bed in an old basket.
    "Will it ever fly again?" asked {h}. "If we are gentle and do not rush," said {p}. {p.He} tied the wing with a soft
        thread.
    {h} ran to {n}, who knew every bird by its song. "A bit of rest, a bit of seed," said {n}, "and it will fly."
""")
BIRD_DAYS = beat("""
    each morning {h} gave it water, drop by drop. On the [third|fourth] day it ate from {h.his} {h.hand}.
    {h} called it {petname}. Every night {h.he} sat beside the box and told it about the sky.
    {h} named it {petname}. At first {petname} would not eat, but one day it took a [seed|berry] from {h.name}'s
        {h.hand}.
    the days went by. The bird hopped around the room and slept on {h.name}'s [shoe|bed|chair].
    {h} named the bird {petname}. "Get well soon, {petname}," {h.he} said each night.
    the bird grew stronger every day. It even began to sing when {h} came in.
    {h} gave the bird the name {petname}. When it rained, they sat at the window, {h} and {petname}, and looked out.
    {h} called the bird {petname}. "Good morning, {petname}," {h.he} said every day, and every day it answered a little
        louder.
    {h} caught worms in the garden, which was not so nice, and brought them to the bird, which was very nice.
""")
BIRD_TRY = beat("""
    after a week, the bird [spread|shook] its wings. It flew from the chair to the table, and then it fell down. "Not
        yet," said {p}.
    one day it wanted to fly. It jumped, and it landed in the soup! {h} had to laugh as {h.he} dried it.
    one morning it tried to fly, but it only got as far as the [bed|lamp]. "You will do it tomorrow," said {h}.
    soon it began to jump and flap. Each day it flew a little farther: to the chair, to the shelf, to the window.
    "Today!" {h} said every morning. And one day the bird flew from {h.his} {h.hand} to the lamp and back.
    the bird tried one wing, then the other. It made a circle in the room and landed on {p.name}'s head!
""")
BIRD_SAD = beat("""
    {h} knew what that meant. "It wants to go home," {h.he} said in a small voice. "Yes," said {p}, "the sky is its
        home."
    "Can I not keep it?" asked {h}. "Would you want to live in a box?" asked {p}. {h} shook {h.his} head.
    then came the day to say goodbye. {h} was happy and sad at the same time.
    {h} wished that it could stay forever. But a bird needs the wind and the trees.
    the bird sat at the window and looked at the clouds. {h} understood, but there was a lump in {h.his} throat.
    "If you love it, you let it go," said {p}. {h} thought about that for a whole evening.
    {h} did not want the day to come. But it came, warm and bright, a good day for flying.
""")
BIRD_FLY = beat("""
    {h} carried it outside and opened {h.his} {h.hand}s. One hop, two hops, and up it flew, [into the blue sky|over the
        trees]!
    {h} opened the window. The bird looked at {h.him}, sang one note, and was gone.
    outside, the bird sat on {h.name}'s arm for a moment. Then it spread both wings and flew to the top of the tree.
    {p} opened the door. The bird flew once around the house, as if to say thank you, and then away.
    "Fly!" whispered {h}, and the bird did. It grew smaller and smaller, until it was a dot in the sky.
    "Are you ready?" asked {h}. The bird was. With a flutter it rose into the air, higher and higher.
    they went up the hill, {h} and {p} and the bird. The wind came, the bird opened its wings, and it flew.
    {h} counted to three and opened {h.his} {h.hand}s. The bird sat there a moment longer. Then it was in the air!
""")
BIRD_BACK = beat("""
    but the next morning, there was a song at the window. The bird had come back to say hello.
    in spring, a {bird} built a nest right over {h.name}'s window. {h} knew at once who it was.
    every evening after that, a {bird} sang in the tree by the house, and {h} sang back.
    the next day {h} found a [blue|white|gray] feather in front of the door. "It is a present," said {p}.
    "Will it forget me?" asked {h}. Then, from high up in the tree, came a happy "peep".
    since then, {h} puts some seeds by the window every day, and every day somebody comes to eat them.
    from then on, {h} looked up whenever a bird flew by. And sometimes a bird looked down.
    in the morning there were two birds at the window, and one of them had a wing that {h} knew very well.
    when {h} was in bed, {h.he} heard a song from far away. "Good night to you, too," {h.he} said.
""")
BIRDS = ("sparrow", "robin", "bluebird", "swallow", "gray dove", "finch", "blackbird", "wren")
BIRD_SPOTS = (
    "under a bush",
    "in the wet grass",
    "beside the path",
    "under the big tree",
    "next to the well",
    "by the fence",
)
BIRD_NAMES = ("Feather", "Sky", "Peep", "Hop", "Sunny", "Berry", "Button", "Cloud")


def bird(tale: Tale) -> None:
    """The hero nurses a bird with a hurt wing and lets it go."""
    tale.cast_hero(animals=0.2)
    tale.cast_elder()
    tale.cast_neighbor()
    found = tale.chance.pick(BIRDS)
    tale.put("bird", found)
    tale.put("where", tale.chance.pick(BIRD_SPOTS))
    tale.put("petname", tale.chance.pick(BIRD_NAMES))
    open_story(tale, BIRD_HOOKS)
    tale.maybe(0.6, BIRD_CARE)
    tale.say(BIRD_HELP)
    tale.paragraph()
    tale.say(BIRD_DAYS)
    tale.say(BIRD_TRY if tale.chance.maybe(0.4) else BIRD_SAD)
    tale.say(BIRD_FLY)
    tale.paragraph()
    tale.say(BIRD_BACK)


# A thing that was found

PURSE_HOOKS = beat("""
    [:day], {h} found {find} {where}.
    [:day], something [shone|lay] {where}. {h} bent down. It was {find}!
    [:day], {h} was on the way to the pond when {h.his} foot touched something {where}. It was {find}.
    [:day], {h} went to [get some milk|buy some bread] for {p}. And what was that {where}? {find.A}!
    "What is this?" asked {h} [:day], and {h.he} picked up {find} {where}.
    it had rained, and the road was full of puddles. [:day], {h} looked down, and there was {find} {where}.
    [:day], {h} was looking for nuts and found {find} {where}!
    [:sunny], {h} sat down to rest. And what was {h.he} sitting on, {where}? It was {find}!
""")
PURSE_WANT = beat("""
    {h} looked to the left and to the right. Nobody was there. "Now it is mine," {h.he} thought.
    it was so beautiful! {h} put it deep into {h.his} pocket.
    "I am so lucky!" {h} said. {h.He} had always wanted something like that.
    {h} thought of all the fun {h.he} could have with it.
    {h} held it up to the light. {h.He} wanted to keep it forever.
    "Finders keepers," {h} said to {h.himself}. It did not sound quite right.
    {h} ran home with it and put it under {h.his} pillow.
    nobody had seen it. Nobody would ever know. {h} closed {h.his} {h.hand} around it.
""")
PURSE_DOUBT = beat("""
    but then {h} thought of the one who had lost it. Was somebody looking for it? Was somebody sad?
    at home {h} showed it to {p}. "How nice," said {p}. "And who is missing it now?" {h} had not thought of that.
    but all day it felt heavy in {h.his} pocket. {h} told {p} about it. "What would you wish, if you had lost it?"
        asked {p}.
    {h} remembered the day when {h.he} had lost {h.his} [favorite ball|best hat]. How {h.he} had cried!
    that night {h} could not sleep. In the morning {h.he} showed it to {p}. "You know what to do," said {p}, and {h}
        nodded.
    "It is mine because I found it," {h} told {p}. "And if somebody found your best toy?" asked {p}. {h} looked at the
        floor.
    but it did not feel like a present. It felt like a secret, and not a good one. {h} sighed. {h.He} had to find out
        whose it was.
    {h} wanted to be glad about it, but {h.he} could not. "Somebody is crying right now," {h.he} thought, "and it is
        because of me."
""")
PURSE_ASK = beat("""
    so {h} went from door to door. "Is this yours?" {h.he} asked. "No," said the first. "No," said the second.
    {h} asked {f}. "It is not mine," said {f}, "but I will help you look." They asked everyone they met.
    with {f}, {h} [made a sign|painted a big sign]: "Found! Please ask {h.name}." They hung it on the old tree.
    {h} and {p} went to the market and asked the baker, the farmer and the flower woman. Nobody knew whose it was.
    {h} went back to the place where {h.he} had found it, sat down and waited.
    "Did you lose something?" {h} asked everyone on the road. People felt in their pockets and shook their heads.
    {h} told {f} about it. "I saw somebody look for something this morning," said {f}. They went to find out who it was.
    first {h} asked the shoe maker, then the miller. They had lost nothing but some time.
""")
PURSE_OWNER = beat("""
    then {n} came along the road and looked at the ground. "Did you lose something?" {h} asked. "Yes, {find}," said
        {n}. "{story}"
    at last {h} saw {n} on a bench, looking sad. "Is this yours?" {h.he} asked. {n} jumped up. "Oh, my {find.noun}!
        {story}"
    in the evening there was a knock at the door. It was {n}. "Has anyone found {find}?" {n.he} asked. "{story}"
    behind the mill {h} met {n}, who was turning over every stone. "I lost {find}," said {n}. "{story}"
    on the bridge stood {n}, with a sad face. "I have lost {find}," {n.he} told {h}. "{story}"
    {h} saw {n} go slowly along the fence and look behind every leaf. "I am looking for {find}," said {n}. "{story}"
    "What are you looking for?" {h} asked {n}, who was down on {n.his} knees. "For {find}," said {n}. "{story}"
""")
PURSE_GIVE = beat("""
    {h} put it into {n.his} {n.hand}. {n.name}'s eyes began to shine.
    "Here it is," said {h}. {n} held it to {n.his} heart and could not speak.
    "I found it, and I took good care of it," said {h}. {n} gave {h.him} a long hug.
    {h} gave it back with both {h.hand}s. It was not hard at all anymore.
    "Then it is yours," said {h}, and {h.he} was surprised how happy that made {h.him}.
    {h} put {h.his} {h.hand} into {h.his} pocket and pulled out the {find.noun}. {n} laughed and cried.
    "Could it be this one?" asked {h}. It was. {n} had to sit down for joy.
    "I kept it safe for you," said {h}, and it was good to say that.
""")
PURSE_REWARD = beat("""
    "Most would have kept it," said {n}. "You are an honest {h.young}." And {n.he} gave {h} {reward}.
    the next day {n} came with {reward} for {h}.
    {n} wanted to give {h} {reward}. "You do not have to," said {h}. "I know," said {n}, "and that is why I want to."
    "You made an old heart happy," said {n}. From then on, {n.he} waved to {h} every morning.
    {n} asked {h} to come in, and they ate {reward.food} and became good friends.
    "I have something for you as well," said {n}, and gave {h} {reward}.
    a week later there was a parcel at the door. In it was {reward}, from {n}.
    "You found more than that," said {n}. "You found a friend." And {n.he} kissed {h} on the nose.
""")


class Find(NamedTuple):
    """Something that is found: what it is, and what it means to its owner."""

    name: str
    noun: str
    story: str


FINDS = (
    Find("a silver ring", "ring", "My mother gave it to me when I was small."),
    Find("a gold watch", "watch", "It was with me on all my trips."),
    Find("a little blue purse", "purse", "All the money for the week is in it."),
    Find("a shiny key", "key", "I cannot get into my house without it."),
    Find("a red stone on a string", "stone", "It has brought me luck since I was young."),
    Find("a tiny music box", "music box", "It plays the song my mother used to sing."),
    Find("an old silver comb", "comb", "My grandmother gave it to me."),
    Find("a silver spoon", "spoon", "My sister has one just like it, far away."),
)
REWARDS = (
    ("a jar of honey", "bread and honey"),
    ("a basket of plums", "plums"),
    ("a shiny coin", "cookies"),
    ("a warm apple pie", "apple pie"),
    ("a book of stories", "cake"),
    ("a small wooden flute", "nuts"),
    ("a bag of nuts", "nut cake"),
    ("a white feather", "soup"),
)


def found(tale: Tale) -> None:
    """The hero finds something precious, wants to keep it, and brings it back to its owner."""
    tale.cast_hero()
    tale.cast_elder()
    tale.cast_neighbor()
    tale.cast_friend()
    chosen = tale.chance.pick(FINDS)
    tale.put("find", chosen.name, noun=chosen.noun, A=chosen.name.capitalize())
    tale.put("story", chosen.story)
    tale.put("where", tale.chance.pick(BIRD_SPOTS))
    reward, food = tale.chance.pick(REWARDS)
    tale.put("reward", reward, food=food)
    open_story(tale, PURSE_HOOKS)
    tale.maybe(0.6, PURSE_WANT)
    tale.say(PURSE_DOUBT)
    tale.paragraph()
    tale.maybe(0.6, PURSE_ASK)
    tale.say(PURSE_OWNER)
    tale.say(PURSE_GIVE)
    tale.maybe(0.6, PURSE_REWARD)
    tale.maybe(0.5, KIND)

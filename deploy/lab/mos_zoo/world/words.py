"""Words that the tokenizer keeps whole: the grammar's, and many that people type."""

from mos_zoo.world.captions import MEDIA, PLACES
from mos_zoo.world.instance import ACCESSORIES, CLASSES, COLORS, PATTERNS

_TYPED = """
a about above across after air alien all alone along an and animal apple are around art
arm at autumn awesome baby back background bad bag ball balloon banana barn beach bear
beard beautiful bed bee before behind below bench beside best between bicycle big bike
bird black blue blur blurry boat body book boots bottle bowl box boy branch bread bread
bridge bright brown brush building bus bush but butterfly by cactus cake calm camera
candle cap cape car card castle cat cave chair chicken child circle city cliff clock
close cloud cloudy clown coat coffee cold collar color colorful colour colourful concept
cool corner cosy couch cow crazy crown cup curtain cute dark dawn day deep deer deformed
desert desk detailed dinosaur dirt dish dog doll door dragon drawing dress drinking
driving duck dusk ears earth east eating edge egg elephant empty evening eyes face fairy
family farm fast fat feather fence few field fire fish flag flat floor flower flowers
fluffy flying fog food foot for forest four fox frame friend friends frog front fruit
full funny fur furniture garden ghost giant girl glass glasses gloves goat gold golden
good grass gray green grey ground group hair hall hand happy harbor hat hay head heart
helmet her hero high hill his holding hole holiday home horse hot house hug huge ice
icon illustration image in indoor indoors inside into is island it its jacket jar
jumping kid king kitchen kite kitten kitty lake lamp land landscape
lantern large late leaf left
leg library light lighthouse lion little living logo long looking lot love low lovely
lying machine magic man many map mask masterpiece meadow metal middle minimal mirror
misty modern monkey monster moon morning mountain mountains mouse mouth much mug museum
mushroom music my near neck nest new next nice night nobody north nose ocean of old on
one open or orange our outdoor outdoors outside over owl ox painting palm panda paper
park party path pattern penguin people person pet photo photograph picture pier pig pink
pirate plain plane plant plate playful playing pond portrait poster princess puppy
purple quality queen quiet rabbit rain rainbow rainy realistic rectangle red retro
right river road robot rock rocket roof room rooster rope rose round royal rug running
sad sail sailing same sand sandy scarf scene school sea season seaside seat see shadow
shape sharp sheep shelf shell ship shirt shoe shop shore short show side sign silver
simple single sit sitting sky sled sleeping sleepy small smile smiling smoke snow snowy
so sofa soft some south space spider spotted spots spring square squirrel stage standing
star stars station statue stone storm street striped stripes strong studio style summer
sun sunflower sunglasses sunny sunrise sunset surf swamp sweater sweet swimming sword
table tail tall taxi tea teal teapot teddy tent text that the their there these they
thick thin this those three through tie tiger tile time tiny to tomato too top tower
town toy track tractor train travel tree trees triangle truck tulip turquoise turtle
two ugly
umbrella under underwater unicorn up van vase vehicle very view village vintage violet
walking wall warm watch water watercolor waterfall wave waves wearing west whale wheel
wheels while white wide wild wind window wings winter with without wizard wolf woman
wood wooden woods wool world yard yellow young your zebra zoo
"""


def known_words() -> list[str]:
    """Every word that becomes one token, in a fixed order."""
    grammar = " ".join(
        (
            *(form for forms in PLACES.values() for form in forms),
            *(*MEDIA, *CLASSES, *COLORS, *PATTERNS, *ACCESSORIES),
            "a an of with and next to on the left right in middle striped spotted , .",
        )
    )
    return sorted({*grammar.split(), *_TYPED.split()})

"""Words that descriptions of people have in other languages than English, with the smallest words of each."""

# ruff: noqa: RUF001  Turkish has a letter that looks like another


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COMMON: dict[str, frozenset[str]] = {
    "German": _words(
        "der die das den dem des ein eine einen einem einer eines und oder mit ohne ist sind hat haben trägt tragen "
        "auf aus bei für von zu zum zur nach über unter vor hinter neben nicht kein keine keinen er sie es ihr sein "
        "seine ihre auch sehr mann frau junge mädchen person kind jacke mantel hose hemd kleid rock schuhe mütze "
        "hut tasche rucksack brille haare haar schal pullover stiefel koffer handtasche kapuze rot rote roter rotes "
        "roten rotem blau blaue blauer blaues blauen schwarz schwarze schwarzer schwarzes schwarzen schwarzem weiß "
        "weiße weißer weißes weißen grün grüne grüner grünen gelb gelbe gelber grau graue grauer grauen braun "
        "braune brauner braunen dunkle dunkler dunkel hell helle kurz kurze kurzen lang lange langen langer jungen "
        "alte alter"
    ),
    "French": _words(
        "le la les un une des du de et ou avec sans est sont dans sur sous pour par porte portant portent il elle "
        "ils elles son sa ses qui que homme femme garçon fille personne enfant dame monsieur veste manteau pantalon "
        "chemise robe jupe chaussures chapeau bonnet casquette sac lunettes cheveux écharpe pull bottes valise "
        "rouge rouges bleu bleue bleus noir noire noirs noires blanc blanche blancs blanches vert verte jaune gris "
        "grise brun brune marron foncé clair court courts longs longue jeune vieux vieille à dos en au aux"
    ),
    "Spanish": _words(
        "el la los las un una unos unas de del y o con sin es son en sobre para por lleva llevando que su sus él "
        "ella hombre mujer niño niña chico chica persona joven señor señora chaqueta abrigo pantalón pantalones "
        "camisa camiseta vestido falda zapatos zapatillas sombrero gorra gorro bolso bolsa mochila gafas pelo "
        "cabello bufanda suéter botas maleta rojo roja rojos rojas azul azules negro negra negros negras blanco "
        "blanca blancos verde verdes amarillo amarilla gris grises marrón oscuro oscura claro corto largo larga "
        "viejo vestida"
    ),
    "Italian": _words(
        "il lo la gli le un uno una di del della e o con senza è sono in su per che suo sua indossa porta uomo "
        "donna ragazzo ragazza persona bambino signore signora giacca cappotto pantaloni camicia maglietta maglione "
        "vestito gonna scarpe cappello berretto borsa zaino occhiali capelli sciarpa stivali valigia rosso rossa "
        "rossi blu azzurro nero nera neri nere bianco bianca bianchi verde verdi giallo gialla grigio grigia "
        "marrone scuro corti lunghi giovane vecchio"
    ),
    "Portuguese": _words(
        "o os as um uma uns de do da dos das e ou com sem é são em no na nos sobre para por que seu sua homem "
        "mulher menino menina rapaz moça pessoa criança senhor casaco jaqueta calça calças camisa camiseta vestido "
        "saia sapatos tênis chapéu boné bolsa mochila óculos cabelo cachecol botas mala vermelho vermelha azul "
        "preto preta pretos pretas branco branca brancos verde amarelo amarela cinza marrom escuro claro curto "
        "longo usando vestindo"
    ),
    "Dutch": _words(
        "de het een en of met zonder is zijn heeft draagt op van voor naar onder boven niet geen hij zij haar vrouw "
        "jongen meisje persoon jas jasje broek hemd jurk rok schoenen muts hoed tas rugzak bril haren sjaal trui "
        "laarzen koffer rood rode blauw blauwe zwart zwarte wit witte groen groene geel gele grijs grijze bruin "
        "bruine donkere lichte korte lange oude jonge"
    ),
    "Polish": _words(
        "i w z na bez jest są ma nosi ubrany ubrana który która mężczyzna kobieta chłopak dziewczyna osoba dziecko "
        "pan pani kurtka kurtce kurtkę płaszcz płaszczu spodnie spodniach koszula koszuli sukienka sukience "
        "spódnica buty butach czapka czapce kapelusz torba torbą plecak plecakiem okulary włosy szalik sweter "
        "walizka czerwony czerwona czerwonej niebieski niebieska niebieskiej czarny czarna czarnej czarnych biały "
        "biała białej zielony zielonej żółty szary brązowy ciemny jasny długi długie krótkie"
    ),
    "Swedish, Danish or Norwegian": _words(
        "och og med utan uten uden är er har på av af för till til som en ett et den det han hun hon mand mann "
        "kvinna kvinne kvinde pojke gutt dreng flicka jente pige barn jacka jakke jacke kappa kåpe frakke byxor "
        "bukser skjorta skjorte klänning kjole kjol skor sko hatt hat mössa lue hue väska veske taske ryggsäck "
        "ryggsekk rygsæk glasögon briller hår tröja genser röd rød röda røde blå svart svarta svarte sort sorte vit "
        "hvit hvid vita hvite grön grønn grøn gul grå brun brune"
    ),
    "Turkish": _words(
        "ve ile bir bu olan giyen giymiş adam kadın erkek kız çocuk kişi ceket ceketli mont montlu pantolon "
        "pantolonlu gömlek gömlekli elbise elbiseli etek ayakkabı ayakkabılı şapka şapkalı çanta çantalı gözlük "
        "gözlüklü saç saçlı kırmızı mavi siyah beyaz yeşil sarı gri kahverengi koyu açık kısa uzun genç yaşlı"
    ),
}
"""By the name of the language."""

"""
Languages as playlists and people write them: tags of BCP 47, and which of them mean the same.

A tag begins with a code of two letters (ISO 639-1) where there is one, else of three; playlists often have the one of
three letters all the same (ISO 639-2, in its terminological or its bibliographic form: "deu", "ger").
"""


def normal_tag(tag: str) -> str:
    """
    `tag` in lower case, with "-" between its parts and the shortest code of its language: "ENG-us" -> "en-us".
    """
    primary, *others = tag.strip().lower().replace("_", "-").split("-")
    return "-".join((_SHORTEST.get(primary, primary), *others))


def is_language(wanted: str, tag: str) -> bool:
    """
    Whether a tag falls within a language range: basic filtering (RFC 4647 3.3.1), with the codes of one language
    taken for each other. "en" wants "en", "eng" and "en-US"; "en-US" does not want "en".
    """
    if not tag.strip():
        return False
    return f"{normal_tag(tag)}-".startswith(f"{normal_tag(wanted)}-")


# ISO 639-1, 639-2/T and, where it differs, 639-2/B.
_CODES = """
aa aar, ab abk, ae ave, af afr, ak aka, am amh, an arg, ar ara, as asm, av ava, ay aym, az aze, ba bak, be bel,
bg bul, bh bih, bi bis, bm bam, bn ben, bo bod tib, br bre, bs bos, ca cat, ce che, ch cha, co cos, cr cre,
cs ces cze, cu chu, cv chv, cy cym wel, da dan, de deu ger, dv div, dz dzo, ee ewe, el ell gre, en eng, eo epo,
es spa, et est, eu eus baq, fa fas per, ff ful, fi fin, fj fij, fo fao, fr fra fre, fy fry, ga gle, gd gla,
gl glg, gn grn, gu guj, gv glv, ha hau, he heb, hi hin, ho hmo, hr hrv, ht hat, hu hun, hy hye arm, hz her,
ia ina, id ind, ie ile, ig ibo, ii iii, ik ipk, io ido, is isl ice, it ita, iu iku, ja jpn, jv jav, ka kat geo,
kg kon, ki kik, kj kua, kk kaz, kl kal, km khm, kn kan, ko kor, kr kau, ks kas, ku kur, kv kom, kw cor, ky kir,
la lat, lb ltz, lg lug, li lim, ln lin, lo lao, lt lit, lu lub, lv lav, mg mlg, mh mah, mi mri mao, mk mkd mac,
ml mal, mn mon, mr mar, ms msa may, mt mlt, my mya bur, na nau, nb nob, nd nde, ne nep, ng ndo, nl nld dut,
nn nno, no nor, nr nbl, nv nav, ny nya, oc oci, oj oji, om orm, or ori, os oss, pa pan, pi pli, pl pol, ps pus,
pt por, qu que, rm roh, rn run, ro ron rum, ru rus, rw kin, sa san, sc srd, sd snd, se sme, sg sag, si sin,
sk slk slo, sl slv, sm smo, sn sna, so som, sq sqi alb, sr srp, ss ssw, st sot, su sun, sv swe, sw swa, ta tam,
te tel, tg tgk, th tha, ti tir, tk tuk, tl tgl, tn tsn, to ton, tr tur, ts tso, tt tat, tw twi, ty tah, ug uig,
uk ukr, ur urd, uz uzb, ve ven, vi vie, vo vol, wa wln, wo wol, xh xho, yi yid, yo yor, za zha, zh zho chi,
zu zul
"""
_SHORTEST = {code: row.split()[0] for row in _CODES.split(",") for code in row.split()[1:]}

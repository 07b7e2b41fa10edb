"""The rules that need no model: which characters, after which words, with which check digits.

Here belong patterns and check digits, for English and Chinese text. They are written for the `regex` module, whose
lookbehinds may be of any length, so that the word before a number decides about it and stays in the text. `\\b` is of no
use beside Chinese characters; hence the explicit boundaries. Who changes a pattern changes `RULES_VERSION` too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backfill_assets.adapters.pii import vocabulary as words

RULES_VERSION = "pii-1"

CLASSES = ("NAME", "MRN", "SERIAL", "CARD", "ID", "BANK", "ADDRESS", "EMAIL", "PHONE", "DOB")
PLACEHOLDER = rf"\[(?:{'|'.join(CLASSES)})\]"

_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_GAP = r"[\s:：#.是为]{0,4}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is private by its form; `valid`, where there is one, is asked about each match."""

    entity: str
    pattern: str
    valid: Callable[[str], bool] | None = None


def luhn(text: str) -> bool:
    """Whether the last digit checks the others, as on payment cards."""
    digits = [int(mark) for mark in text if mark.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def mod97(text: str) -> bool:
    """Whether an IBAN's check digits hold."""
    iban = "".join(text.split()).upper()
    return int("".join(str(int(mark, 36)) for mark in iban[4:] + iban[:4])) % 97 == 1


def resident(text: str) -> bool:
    """Whether the last character of a Chinese resident's number checks the other 17."""
    total = sum(int(mark) * (2 ** (17 - place) % 11) for place, mark in enumerate(text[:17]))
    return "10X98765432"[total % 11] == text[-1].upper()


def no_device(text: str) -> bool:
    """Whether no word of it is that of a device: "2 Table Drive" is no address, "Artis Zee" no person."""
    return words.DEVICE_WORDS.isdisjoint(text.lower().replace(".", " ").replace(",", " ").split())


def _after(context: str, value: str, *, gap: str = _GAP) -> str:
    return rf"(?<={_START}(?:(?i:{context})){gap})(?:{value})"


_NUMBER = rf"{_START}(?=[A-Za-z0-9/-]*\d{{3}})[A-Za-z0-9][A-Za-z0-9/-]*[A-Za-z0-9]"
_NO = r"(?:\s*(?:numbers?|no|nr|id|#)\b)?"
_DATE = (
    r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}[-/.年]\s?\d{1,2}[-/.月]\s?\d{1,2}日?|"
    r"(?i:\d{1,2}\.? (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?,? \d{4}|"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{1,2},? \d{4})"
)
_STREET = (
    "Street|St|Road|Rd|Avenue|Ave|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Parkway|Pkwy|Highway|Hwy|Terrace|"
    "Square|Sq|Circle|Way|Crescent|Close"
)
_HAN = r"\p{Han}"
_PROVINCE = rf"(?:{_HAN}{{2,7}}?(?:省|自治区|市)){{1,2}}"
_DISTRICT = rf"(?:{_HAN}{{1,7}}?(?:区|县|镇|乡))?"
_ROAD = rf"{_HAN}{{1,9}}?(?:大街|大道|路|街|巷|胡同|弄){_HAN}{{0,3}}\s?\d{{1,5}}号"
_UNIT = r"(?:\d{1,3}号楼|\d{1,3}栋|\d{1,3}楼|\d{1,3}层|\d{1,4}室|\d单元)*"
_LATIN_WORD = r"(?:\p{Lu}[\p{L}'’]+(?:-\p{Lu}?[\p{L}'’]+)*)"
_PARTICLE = r"(?:de|van|von|der|den|du|di|da|la|el|al|bin|ter|de la|van der)"
_LATIN_NAME = rf"(?:\p{{Lu}}\. ?|{_LATIN_WORD} )(?:(?:\p{{Lu}}\.|{_PARTICLE}|{_LATIN_WORD}) ){{0,2}}{_LATIN_WORD}"
_CHINESE_NAME = (
    rf"(?!(?:{words.NOT_CHINESE_NAMES}))(?:(?:{'|'.join(words.DOUBLE_SURNAMES)}){_HAN}{{1,2}}?|"
    rf"[{words.SURNAMES}]{_HAN}{{1,2}}?)"
)
_CHINESE_END = rf"(?=$|[^\p{{Han}}]|{words.CHINESE_TITLES}|{words.CHINESE_VERBS})"

RULES: tuple[Rule, ...] = (
    Rule(entity="EMAIL", pattern=r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    Rule(entity="ID", pattern=rf"{_START}\d{{3}}-\d{{2}}-\d{{4}}{_END}"),
    Rule(
        entity="ID",
        pattern=_after(
            rf"(?:ssn|social security){_NO}(?: is)?|身份证(?:号码|号)?|证件(?:号码|号)?",
            rf"\d{{3}}[- ]?\d{{2}}[- ]?\d{{4}}{_END}|\d{{17}}[\dXx]{_END}|\d{{15}}{_END}",
        ),
    ),
    Rule(entity="ID", pattern=rf"{_START}[1-9]\d{{16}}[\dXx]{_END}", valid=resident),
    Rule(entity="CARD", pattern=rf"{_START}\d(?:[ -]?\d){{12,18}}{_END}", valid=luhn),
    Rule(
        entity="CARD",
        pattern=_after(
            rf"(?:visa|mastercard|amex|credit|debit|payment|unionpay)?\s?(?:card){_NO}|visa|mastercard|amex|信用卡号?|卡号",
            rf"\d(?:[ -]?\d){{11,18}}{_END}",
        ),
    ),
    Rule(
        entity="BANK",
        pattern=rf"{_START}[A-Z]{{2}}\d{{2}}(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,3}})?{_END}",
        valid=mod97,
    ),
    Rule(
        entity="BANK",
        pattern=_after(
            rf"(?:bank )?(?:account|acct|a/c)\.?{_NO}|iban|(?:银行|开户)?(?:账号|帐号|账户)",
            rf"[A-Z0-9]*\d(?:[ -]?\d){{5,}}{_END}",
        ),
    ),
    Rule(
        entity="MRN",
        pattern=_after(
            rf"mrn|(?:medical record|chart|patient|pt|hospital|hosp|accession|insurance|policy)\.?{_NO}|"
            r"病历号|病案号|住院号|门诊号|就诊号|患者id|患者编号|检查号|医保号",
            _NUMBER,
        ),
    ),
    Rule(entity="MRN", pattern=rf"{_START}(?:ACC|INS|MRN|PT)-\d{{4,}}{_END}"),
    Rule(
        entity="SERIAL",
        pattern=_after(
            rf"s/n|serial{_NO}|(?:equipment|device|asset|system){_NO}|设备序列号|序列号|设备编号|机身号|资产编号|sn",
            _NUMBER,
            gap=r"[\s:：#.是为-]{0,4}",
        ),
    ),
    Rule(entity="SERIAL", pattern=rf"{_START}SN-?\d{{4,}}{_END}"),
    Rule(entity="PHONE", pattern=rf"{_START}(?:\(\d{{3}}\) ?|\d{{3}}[-. ])\d{{3}}[-. ]\d{{4}}{_END}"),
    Rule(entity="PHONE", pattern=rf"\+\d{{1,3}}(?:[ .-]?\(?\d{{1,5}}\)?){{2,5}}{_END}"),
    Rule(entity="PHONE", pattern=rf"{_START}1[3-9]\d[ -]?\d{{4}}[ -]?\d{{4}}{_END}"),
    Rule(entity="PHONE", pattern=rf"{_START}0\d{{2,3}}-\d{{7,8}}{_END}"),
    Rule(
        entity="PHONE",
        pattern=_after(
            rf"(?:tele)?phone{_NO}|tel|call|mobile|cell|fax|联系电话|电话|手机号?码?|传真",
            rf"\+?\(?\d[\d ().-]{{5,16}}\d{_END}",
        ),
    ),
    Rule(
        entity="DOB",
        pattern=_after(
            r"dob|d\.o\.b\.?|date of birth|birth ?date|birthday|born(?: on)?|出生日期|出生于|出生|生日", _DATE
        ),
    ),
    Rule(
        entity="ADDRESS",
        pattern=(
            rf"{_START}\d{{1,5}}[A-Za-z]? (?:[NSEW]\.? )?(?:(?:\p{{Lu}}[\p{{L}}.'’]*|\d{{1,3}}(?:st|nd|rd|th)) ){{1,4}}"
            rf"(?:{_STREET})\b\.?(?:,? (?:Suite|Ste|Apt|Unit|Floor)\.? ?#?\w+)?"
            r"(?:, \p{Lu}\p{L}+(?: \p{Lu}\p{L}+)?,? [A-Z]{2} \d{5}(?:-\d{4})?)?"
        ),
        valid=no_device,
    ),
    Rule(entity="ADDRESS", pattern=rf"{_START}(?i:P\.? ?O\.? ?Box) \d+"),
    Rule(entity="ADDRESS", pattern=rf"(?:{_PROVINCE}{_DISTRICT}|{_HAN}{{1,7}}区){_ROAD}{_UNIT}"),
    Rule(
        entity="ADDRESS",
        pattern=_after(
            "地址|寄到|送到|送至|快递至|寄至|位于|住址", rf"{_HAN}{{2,20}}\d{{1,5}}号{_UNIT}", gap="[:：是为]{0,2}"
        ),
    ),
    Rule(
        entity="NAME",
        pattern=_after("|".join(words.PERSON_WORDS), rf"(?:(?:Dr|Mrs?|Ms|Prof)\.? )?{_LATIN_NAME}", gap=r"[:.]? {1,2}"),
        valid=no_device,
    ),
    Rule(
        entity="NAME",
        pattern=rf"(?<=(?:{words.CHINESE_PERSON_WORDS})[:：]?\s?){_CHINESE_NAME}{_CHINESE_END}",
    ),
    Rule(entity="NAME", pattern=rf"(?<!\p{{Han}}){_CHINESE_NAME}(?={words.CHINESE_TITLES})"),
)
"""Of two that overlap, both are replaced, by the placeholder of the class that comes first in `CLASSES_BY_STRENGTH`."""

CLASSES_BY_STRENGTH: Mapping[str, int] = {
    name: strength
    for strength, name in enumerate(("EMAIL", "ID", "CARD", "BANK", "MRN", "SERIAL", "PHONE", "DOB", "ADDRESS", "NAME"))
}

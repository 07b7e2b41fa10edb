"""Words that decide what a name is.

Here belong the words of devices, which a model of names takes for people, the words after which a person is named, and
Chinese surnames. No rule belongs here. Who changes a word changes `RULES_VERSION` too.
"""

DEVICE_WORDS = frozenset(
    """
    access accession achieva acuson adapter aera air alarm allura ambition anode apex aquilion arcadis arm artis artifact
    assembly azurion battery bearing bed big board body bore brilliance bucky button cabinet cable calibration camera card
    cassette cathode cell chiller cios coil cold collimator compressor connector console contrast controller cooling
    cooler core cradle ct customer cycle data defibrillator definition detector device diamond dicom dimensions discovery
    display door dose dr drive edge elara elite emergency encoder engine epiq error exposure fan field filter flash flat
    fluoroscopy footswitch force frame fuse gantry generator go gradient grid hard head helium high hospital hvps image
    infinix infusion ingenia ingenuity injector intensifier intevo interface interlock iq juniper lamp laser linac log
    logiq lunar luminos machine magnet magnetom maintenance mammography mobilett modality module monitor motor mri multitom
    multix network node oil optima orbic orthophos outage pacs panel part patient pdu perspective pet phantom pheno power
    preventive pressure printer pristina probe pump radiology raid reconstruction replaced report reset revolution ris
    room rotation rotor scan scanner selenia senographe sensor sequoia server service shield site skyra slip software
    somatom spiral stand sterilizer stop storage straton supply switch symbia syngo system table tank test tilt titan tray
    triumph trubeam truebeam tube ultrasound unit ups vantage ventilator via vida vivid voltage voluson water workstation
    worklist x-ray xper ysio zee
    """.split()
)
"""In lower case; a model's "person" that holds one of them is a thing."""

PERSON_WORDS = (
    "Mr",
    "Mrs",
    "Ms",
    "Miss",
    "Dr",
    "Prof",
    "Nurse",
    "Radiologist",
    "Technologist",
    "Technician",
    "Tech",
    "Engineer",
    "FSE",
    "Operator",
    "Physicist",
    "Physician",
    "Surgeon",
    "Manager",
    "Supervisor",
    "Contact",
    "Contacted",
    "Caller",
    "Requester",
    "Requestor",
    "User",
    "Patient",
    "Pt",
    "Customer",
    "Customer name",
    "Cust",
    "Name",
    "Attn",
    "Attention",
    "Signed",
    "Signed by",
    "Account holder",
    "Reported by",
    "Approved by",
    "Performed by",
    "Replaced by",
    "Assisted by",
    "Escalated by",
    "Escalated to",
    "Called",
    "Callback to",
    "Spoke with",
    "Spoke to",
    "Talked to",
    "Told",
    "Asked",
    "Ask for",
    "Handover to",
    "Voicemail for",
    "Warranty card of",
    "Badge for",
    "Reviewed by",
    "Checked by",
    "Per",
    "With",
    "By",
)

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆"
    "汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤常温康施文牛樊葛邢安齐易乔伍"
    "庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳欧管柴蒙"
)
DOUBLE_SURNAMES = ("欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "司徒", "夏侯")
NOT_CHINESE_NAMES = (
    "高压|高温|高速|高频|高度|方向|方案|方式|金属|程序|水平|安全|安装|常规|常见|温度|成像|单元|石墨|于是|向上|向下|关闭|关机|"
    "路由|包装|管路|管理|文件|万用|左侧|任务|符合|游标|成功|安排|应急|时间|冷却|马达|白色|黄色|毛刷|龙门|康复|左右|许可|严重|"
    "易损|常用|施工|章节|童床|申请|向导|温控|江苏|金额|史料|单位|曲线|盛放|安检"
)
CHINESE_PERSON_WORDS = (
    "联系人|联系|患者姓名|患者|病人|客户|姓名|工程师|报修人|报告人|操作员|操作人|技师|护士|医生|主任|负责人|审批人|签字|签收人|"
    "值班人员|维修人员|维修人|收件人|经办人|由|与|经与|和|请|通知|致电"
)
CHINESE_TITLES = "医生|大夫|主任|护士长|护士|工程师|先生|女士|小姐|师傅|技师|院长|科长|教授|老师|经理"
CHINESE_VERBS = (
    "报修|反映|反馈|反应|到场|到达|处理|更换|维修|检查|检修|检测|签收|签字|确认|沟通|发现|说|称|报告|表示|要求|告知|安排|完成|负责|"
    "清洁|校准|调整|接收|测试|操作|验收|通知|联系|陪同|协助|电话|手机|申请|审批|来电|使用|重启"
)

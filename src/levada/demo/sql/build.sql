-- The shop's warehouse, from its order lines. Junk stays: returns, lines without a customer, '?' as a description,
-- eight customers that stand in two countries, customers who returned more than they bought.

create table people as
with names as (
    select
        ['Ada', 'Björn', 'Chloé', 'Daniel', 'Élodie', 'Farid', 'Grace', 'Hannah', 'Inés', 'José', 'Kemal', 'Lena', 'Maïté', 'Noor',
         'Olga', 'Pedro', 'Quentin', 'Rosa', 'Sanjay', 'Tomás', 'Ursula', 'Victor', 'Wanjiru', 'Ximena', 'Yusuf', 'Zoë', 'Aoife',
         'Bruno', 'Carmen'] as first,
        ['Abbott', 'Barker', 'Castro', 'Dubois', 'Eriksen', 'Fischer', 'García', 'Haddad', 'Iqbal', 'Jensen', 'Kowalski', 'Lindqvist',
         'Müller', 'Novák', 'O''Neill', 'Petrov', 'Quinn', 'Rossi', 'Silva', 'Tanaka', 'Ueda', 'Virtanen', 'Walsh', 'Xavier', 'Yılmaz',
         'Zhang', 'Amorim', 'Brandt', 'Cole', 'Dimitriou', 'Evans'] as last
),
numbered as (
    select
        id::integer as customer_id,
        first[1 + (id * 7919) % len(first)] as first_name,
        last[1 + (id * 104729) % len(last)] as last_name
    from range(12000, 22000) as candidates(id), names
),
addressed as (
    select *, lower(regexp_replace(strip_accents(first_name || '.' || last_name), '[^A-Za-z.]', '', 'g')) || '.' || customer_id as mailbox
    from numbered
)
select
    customer_id,
    first_name,
    last_name,
    -- a few addresses that no tool can take, and some as people type them
    case
        when customer_id % 911 = 5 then mailbox || ' at example.com'
        when customer_id % 911 = 6 then mailbox || '@'
        when customer_id % 53 = 7 then '  ' || upper(mailbox) || '@Example.COM '
        else mailbox || '@example.com'
    end as email,
    -- numbers that Ofcom keeps free for fiction
    case when customer_id % 3 = 0 then '020 7946 0' || lpad((customer_id % 1000)::varchar, 3, '0') end as phone
from addressed;

-- one code has several descriptions in the order lines: the product takes the one written most often
create table products as
with written as (
    select stock_code, description, count(*) as times
    from order_lines
    group by stock_code, description
),
named as (
    select stock_code, first(description order by times desc, description) as description
    from written
    where description is not null
    group by stock_code
)
select
    stock_code,
    any_value(named.description) as description,
    median(unit_price)::decimal(10, 2) as price,
    count(*) as times_sold
from order_lines
left join named using (stock_code)
group by stock_code
order by stock_code;

create table as_of as select max(invoice_at) as moment from order_lines;
